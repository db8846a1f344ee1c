"""Paths as clients misspell them, and routes that don't exist. Who is asking: test_who_asks."""

from __future__ import annotations

import pytest

from adapters.registry import DIALECTS
from gateway.routes import PREFIXES, ROUTES
from gateway.routing import Match, RouteTable, Unknown, WrongMethod, normalise
from gateway.signs import Header, Keys

TABLE = RouteTable()


def found(method: str, path: str, table: RouteTable = TABLE) -> Match:
    match = table.find(method, path)
    assert isinstance(match, Match), match
    return match


def verb(method: str, path: str) -> str:
    return found(method, path).route.verb


@pytest.mark.parametrize("path", ["/v1/chat/completions", "//v1//chat/completions/", "/V1/Chat/Completions",
                                  "/v1 /chat/completions"])  # fmt: skip
def test_slashes_case_and_blanks_do_not_matter(path: str) -> None:
    assert verb("POST", path) == "openai.chat"


@pytest.mark.parametrize("prefix", ["", "/v1", "/v1/v1", "/api/v1", "/openai/v1", "/openai", "/v0", "/v1beta/openai"])
@pytest.mark.parametrize(
    ("rest", "expected"),
    [("/chat/completions", "openai.chat"), ("/embeddings", ("openai.embeddings", "llamacpp.embedding")),
     ("/responses", "openai.responses"), ("/messages", "anthropic.messages"), ("/completion", "llamacpp.completion"),
     ("/infill", "llamacpp.infill"), ("/tokenize", "llamacpp.tokenize"), ("/engines/x/completions",
     "openai.completions")],
)  # fmt: skip
def test_a_base_url_with_too_much_or_too_little(prefix: str, rest: str, expected: str | tuple[str, ...]) -> None:
    """Bare /embeddings is llama.cpp's own."""
    assert verb("POST", prefix + rest) in (expected if isinstance(expected, tuple) else (expected,))


@pytest.mark.parametrize("prefix", ["/api/v0", "/api/v1", "/v0", "/v1"])
def test_lemonades_four_prefixes(prefix: str) -> None:
    """LM Studio has some of them too, with more in its answers than OpenAI's."""
    assert verb("POST", f"{prefix}/chat/completions") in {"openai.chat", "lmstudio.chat"}
    assert verb("GET", f"{prefix}/models") in {"openai.models", "lmstudio.models", "lmstudio.models_v1"}
    assert verb("POST", f"{prefix}/responses") == "openai.responses"
    assert verb("POST", f"{prefix}/rerank") == "llamacpp.rerank"
    assert verb("GET", f"{prefix}/health") == "openai.health"


@pytest.mark.parametrize("path", ["/v1/api/chat", "/ollama/api/chat", "/API/Chat//"])
def test_ollamas_routes_behind_another_base(path: str) -> None:
    assert verb("POST", path) == "ollama.chat"


def test_a_prefix_alone_is_no_route() -> None:
    assert all(isinstance(TABLE.find("GET", written), Unknown) for written in PREFIXES if written)


def test_the_path_becomes_the_tables_own() -> None:
    assert found("POST", "/openai/V1/chat//completions/").path == "/v1/chat/completions"


def test_the_path_that_started_it_all_is_native_llama_cpp() -> None:
    assert {verb("POST", path) for path in ("/completion", "/v1/completion", "/vi/completion")} == {
        "llamacpp.completion"
    }


def test_model_names_in_paths_keep_their_slashes_and_case() -> None:
    for path in ("/v1/models/meta-llama/Llama-3", "/models/meta-llama/Llama-3", "/v1/v1/Models/meta-llama/Llama-3"):
        assert found("GET", path).params == {"model": "meta-llama/Llama-3"}
    engine = found("POST", "/v1/engines/code-davinci-002/completions")
    assert (engine.route.verb, engine.params) == ("openai.completions", {"model": "code-davinci-002"})
    deployment = found("POST", "/openai/deployments/gpt-4/chat/completions")
    assert (deployment.route.verb, deployment.params) == ("openai.chat", {"model": "gpt-4"})


def test_head_asks_for_what_get_answers() -> None:
    assert verb("HEAD", "/api/tags") == "ollama.tags"


def test_a_wrong_method_names_the_right_ones() -> None:
    assert TABLE.find("GET", "/v1/completions") == WrongMethod(["POST"])
    assert TABLE.find("PATCH", "/props") == WrongMethod(["GET", "POST"])


@pytest.mark.parametrize(
    ("method", "path", "nearest"),
    [
        ("POST", "/v1/chat/completion", "POST /v1/chat/completions"),
        ("GET", "/v2/models", "GET /v1/models"),
        ("POST", "/api/generated", "POST /api/generate"),
        ("GET", "/something/else/entirely", "None"),
    ],
)
def test_an_unknown_route_names_the_nearest(method: str, path: str, nearest: str) -> None:
    lost = TABLE.find(method, path)
    assert isinstance(lost, Unknown)
    assert str(lost.nearest) == nearest


def test_an_operators_paths_come_first_with_their_verbs_methods() -> None:
    table = RouteTable(own={"/My/Old/Path": "openai.completions", "/v1/completions": "llamacpp.completion",
                            "/of/{model}/ping": "openai.ping"})  # fmt: skip
    assert found("POST", "/my/old/path/", table).route.verb == "openai.completions"
    assert found("POST", "/v1/completions", table).route.verb == "llamacpp.completion"
    assert found("GET", "/of/x/ping", table).params == {"model": "x"}
    assert isinstance(found("POST", "/of/x/ping", table), Match)
    assert isinstance(table.find("GET", "/my/old/path"), WrongMethod)


def test_every_verb_of_the_table_exists() -> None:
    verbs = {verb for route in ROUTES for verb in route.verbs}
    known = {f"{name}.{verb}" for name, dialect in DIALECTS.items() for verb in dialect.verbs}
    assert verbs <= known


def test_no_path_stands_twice() -> None:
    pairs = [(route.method, route.path) for route in ROUTES]
    assert len(pairs) == len(set(pairs))


def test_the_table_is_written_as_paths_are_compared() -> None:
    assert [
        route.path for route in ROUTES if "{" not in route.path and route.path != normalise(route.path).lower()
    ] == []


def test_headers_are_asked_before_bodies() -> None:
    for route in ROUTES:
        kinds = [isinstance(sign, Header) for sign in route.signs if not sign.outweighs_persona]
        assert kinds == sorted(kinds, reverse=True), route


def test_no_body_decides_whether_a_key_is_asked_for() -> None:
    """It is asked for before the body is read, which may turn one verb of a route into another."""
    public = {f"{name}.{verb}" for name, dialect in DIALECTS.items() for verb in dialect.public}
    told_by_bodies = [route for route in ROUTES if any(isinstance(sign, Keys) for sign in route.signs)]
    assert told_by_bodies
    assert [str(route) for route in told_by_bodies if len({verb in public for verb in route.verbs}) > 1] == []


def test_personas_are_dialects() -> None:
    assert {persona for route in ROUTES for persona in route.personas} <= set(DIALECTS)
