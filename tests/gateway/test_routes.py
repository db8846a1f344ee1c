from __future__ import annotations

import pytest

from adapters.registry import DIALECTS
from gateway.routes import ROUTES, Match, RouteTable, Unknown, WrongMethod

TABLE = RouteTable()


def verb(method: str, path: str, persona: str = "openai") -> str:
    found = TABLE.find(method, path, persona, {})
    assert isinstance(found, Match), found
    return found.verb


@pytest.mark.parametrize("path", ["/v1/chat/completions", "//v1//chat/completions/", "/V1/Chat/Completions"])
def test_slashes_and_case_do_not_matter(path: str) -> None:
    assert verb("POST", path) == "openai.chat"


def test_the_path_that_started_it_all_is_native_llama_cpp() -> None:
    assert {verb("POST", path) for path in ("/completion", "/v1/completion", "/vi/completion")} == {
        "llamacpp.completion"
    }


def test_the_persona_decides_where_a_path_alone_cannot() -> None:
    path = "/v1/chat/completions"
    assert verb("POST", path, "openai") == "openai.chat"
    assert verb("POST", path, "llamacpp") == "llamacpp.chat"
    assert verb("POST", path, "ollama") == "ollama.chat_v1"
    assert verb("POST", "/api/chat", "llamacpp") == "ollama.chat"


def test_a_header_of_one_family_decides_where_the_persona_does_not() -> None:
    headers = {"anthropic-version": "2023-06-01"}
    for persona, expected in (("openai", "anthropic.models"), ("ollama", "ollama.models_v1")):
        found = TABLE.find("GET", "/v1/models", persona, headers)
        assert isinstance(found, Match)
        assert found.verb == expected


def test_model_names_in_paths_keep_their_slashes_and_case() -> None:
    found = TABLE.find("GET", "/v1/models/meta-llama/Llama-3", "openai", {})
    assert isinstance(found, Match)
    assert found.params == {"model": "meta-llama/Llama-3"}
    found = TABLE.find("POST", "/v1/engines/copilot-codex/completions", "openai", {})
    assert isinstance(found, Match)
    assert (found.verb, found.params) == ("openai.completions", {"model": "copilot-codex"})
    found = TABLE.find("POST", "/openai/deployments/gpt-4/chat/completions", "openai", {})
    assert isinstance(found, Match)
    assert (found.verb, found.params) == ("openai.chat", {"model": "gpt-4"})


def test_head_asks_for_what_get_answers() -> None:
    assert verb("HEAD", "/api/tags") == "ollama.tags"


def test_a_wrong_method_names_the_right_ones() -> None:
    assert TABLE.find("GET", "/v1/completions", "openai", {}) == WrongMethod(["POST"])
    assert TABLE.find("PATCH", "/props", "openai", {}) == WrongMethod(["GET", "POST"])


@pytest.mark.parametrize(
    ("method", "path", "nearest"),
    [
        ("POST", "/v1/chat/completion", "POST /v1/chat/completions"),
        ("GET", "/v2/models", "GET /v1/models"),
        ("POST", "/api/generated", "POST /api/generate"),
        ("GET", "/something/else/entirely", None),
    ],
)
def test_an_unknown_route_names_the_nearest(method: str, path: str, nearest: str | None) -> None:
    assert TABLE.find(method, path, "openai", {}) == Unknown(nearest)


def test_every_verb_of_the_table_exists() -> None:
    verbs = {verb for route in ROUTES for verb in (route.verb, *route.personas.values(), *route.headers.values())}
    known = {f"{name}.{verb}" for name, dialect in DIALECTS.items() for verb in dialect.verbs}
    assert verbs <= known


def test_no_path_stands_twice() -> None:
    pairs = [(route.method, route.path) for route in ROUTES]
    assert len(pairs) == len(set(pairs))
