"""Who is asking: listener persona, path of one family, headers, keys of the body, default; and every path that several
servers claim, under its number in the catalogue of conflicts (C1 to C25)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.routing import Match, RouteTable
from tests.fakes import call

TABLE = RouteTable()
STAINLESS = {"X-Stainless-Lang": "js"}


def verb(method: str, path: str, body: Any = None, *, persona: str = "openai", headers: Mapping[str, str] | None = None,
         query: Mapping[str, str] | None = None) -> str:  # fmt: skip
    match = TABLE.find(method, path)
    assert isinstance(match, Match), match
    return match.route.verb_for(call(method, path, body, persona=persona, headers=headers, query=query))


def test_the_persona_decides_where_a_path_alone_cannot() -> None:
    path = "/v1/chat/completions"
    assert verb("POST", path, persona="openai") == "openai.chat"
    assert verb("POST", path, persona="llamacpp") == "llamacpp.chat"
    assert verb("POST", path, persona="ollama") == "ollama.chat_v1"


def test_a_path_of_one_family_outweighs_the_persona() -> None:
    assert {verb("POST", "/api/chat", persona=persona) for persona in ("openai", "llamacpp", "anthropic")} == {
        "ollama.chat"
    }


def test_a_header_of_one_family_decides_where_the_persona_does_not() -> None:
    headers = {"Anthropic-Version": "2023-06-01"}
    assert verb("GET", "/v1/models", headers=headers) == "anthropic.models"
    assert verb("GET", "/v1/models", headers=headers, persona="ollama") == "ollama.models_v1"


def test_a_body_that_is_no_object_has_no_keys() -> None:
    for body in (b"", b'"max_tokens', b'["max_tokens", "model"]', {"max_tokens": None, "model": "x"}):
        assert verb("POST", "/completions", body) == "llamacpp.completion"


def test_c1_completions_is_tabbys_for_code_between_segments() -> None:
    between = {"language": "python", "segments": {"prefix": "a", "suffix": "b"}}
    raw = {"language": "python", "debug_options": {"raw_prompt": "a"}}
    for persona in ("openai", "llamacpp", "ollama", "tabby"):
        for body in (between, raw):
            assert verb("POST", "/v1/completions", body, persona=persona) == "tabby.completions"
    assert verb("POST", "/v1/completions", between | {"prompt": "a"}) == "openai.completions"
    native = {"prompt": "a", "n_predict": 8, "cache_prompt": True}
    assert verb("POST", "/v1/completions", native) == "openai.completions"
    assert verb("POST", "/v1/completions", native, persona="llamacpp") == "llamacpp.completions"


def test_c2_completions_is_native_but_for_openais_clients() -> None:
    fauxpilot = {"model": "fastertransformer", "prompt": "x", "max_tokens": 8, "stop": []}
    assert verb("POST", "/completions", fauxpilot) == "llamacpp.bilingual"
    assert verb("POST", "/completions", {"prompt": "x"}, headers=STAINLESS) == "llamacpp.bilingual"
    assert verb("POST", "/completions", {"prompt": "x"}, headers={"User-Agent": "OpenAI/Python 1.99"}) == (
        "llamacpp.bilingual"
    )
    for native in ({"prompt": "x", "n_predict": 8}, {"prompt": "x"}, fauxpilot | {"cache_prompt": True}):
        assert verb("POST", "/completions", native) == "llamacpp.completion"
    assert verb("POST", "/completion", fauxpilot, headers=STAINLESS) == "llamacpp.completion"


def test_c3_completion_behind_v1_is_native() -> None:
    assert verb("POST", "/v1/completion", {"model": "x", "max_tokens": 8}, headers=STAINLESS) == "llamacpp.completion"


def test_c4_embeddings() -> None:
    openais = {"model": "x", "input": "a", "encoding_format": "base64"}
    assert verb("POST", "/embedding", openais) == "llamacpp.embedding"
    assert verb("POST", "/embeddings", {"input": "a"}, persona="llamacpp") == "llamacpp.embedding"
    assert verb("POST", "/embeddings", openais, persona="llamacpp") == "llamacpp.v1_embeddings"
    assert verb("POST", "/embeddings", openais) == "openai.embeddings"
    for path in ("/embeddings", "/v1/embeddings"):
        assert verb("POST", path, {"content": "a"}) == "llamacpp.embedding"
    assert verb("POST", "/v1/embeddings", openais) == "openai.embeddings"
    assert verb("POST", "/api/embed", {"input": "a"}) == "ollama.embed"
    assert verb("POST", "/api/embeddings", {"prompt": "a"}) == "ollama.embeddings"


def test_c5_tokenize_by_what_is_to_be_tokenized() -> None:
    subjects = {"content": "llamacpp", "prompt": "openai", "messages": "openai", "inputs": "tgi"}
    for persona in ("openai", "llamacpp", "tgi", "ollama"):
        for key, family in subjects.items():
            assert verb("POST", "/tokenize", {key: "a", "model": "x"}, persona=persona) == f"{family}.tokenize"
    for persona, family in (("openai", "openai"), ("llamacpp", "llamacpp"), ("tgi", "tgi"), ("ollama", "llamacpp")):
        assert verb("POST", "/tokenize", {}, persona=persona) == f"{family}.tokenize"


def test_c8_c9_models() -> None:
    for path in ("/v1/models", "/models"):
        assert verb("GET", path) == "openai.models"
        assert verb("GET", path, persona="llamacpp") == "llamacpp.models"
        assert verb("GET", path, headers={"anthropic-version": "2023-06-01"}) == "anthropic.models"


def test_c11_api_v1_by_what_follows() -> None:
    kobolds = {"GET /api/v1/model": "model", "GET /api/v1/config/max_length": "max_length",
               "GET /api/v1/info/version": "united_version", "POST /api/v1/generate": "generate"}  # fmt: skip
    for route, expected in kobolds.items():
        method, path = route.split()
        assert verb(method, path) == f"kobold.{expected}"
    for rest in ("chat/completions", "completions", "embeddings", "responses"):
        assert verb("POST", f"/api/v1/{rest}") == f"openai.{rest.replace('chat/completions', 'chat')}"
    assert verb("GET", "/api/v1/health") == "openai.health"


def test_c12_generate_by_the_name_of_its_length() -> None:
    for persona in ("openai", "kobold"):
        assert verb("POST", "/api/v1/generate", {"prompt": "a", "max_length": 8}, persona=persona) == "kobold.generate"
        assert verb("POST", "/api/v1/generate", {"prompt": "a", "max_new_tokens": 8}, persona=persona) == (
            "textgen.generate"
        )
    assert verb("POST", "/api/v1/generate", {"prompt": "a"}) == "kobold.generate"
    assert verb("POST", "/api/v1/generate", {"prompt": "a"}, persona="textgen") == "textgen.generate"


def test_c11_c13_lm_studios_two_apis() -> None:
    assert verb("POST", "/api/v0/chat/completions") == "lmstudio.chat"
    assert verb("GET", "/api/v1/models") == "lmstudio.models_v1"
    assert verb("POST", "/api/v1/chat", {"model": "x", "input": "Hi"}) == "lmstudio.chat_v1"
    assert verb("POST", "/api/v1/chat", {"user_input": "Hi", "history": {}}) == "textgen.chat"


def test_c14_ollamas_own_routes_are_ollamas() -> None:
    for path in ("/api/generate", "/api/chat"):
        assert verb("POST", path, persona="llamacpp", headers={"User-Agent": "GitHubCopilotChat/0.30"}) == (
            f"ollama.{path[5:]}"
        )


def test_c17_rerank() -> None:
    for path in ("/rerank", "/v1/rerank", "/reranking", "/v1/reranking"):
        assert verb("POST", path, {"query": "a", "texts": ["b"]}) == "llamacpp.rerank"


def test_c18_generate_and_the_root_are_tgis() -> None:
    for path in ("/generate", "/"):
        assert verb("POST", path, {"inputs": "a"}).partition(".")[0] == "tgi"


def test_c10_c19_tabbys_agent_says_who_it_is() -> None:
    agent = {"User-Agent": "Node.js/v20.11.0 tabby-agent/1.9.0 VSCode/1.90.0"}
    for persona in ("openai", "llamacpp"):
        assert verb("POST", "/v1/chat/completions", {"messages": []}, persona=persona, headers=agent) == "tabby.chat"
        assert verb("GET", "/v1/health", persona=persona, headers=agent) == "tabby.health"
        assert verb("POST", "/v1/health", persona=persona) == "tabby.health"
        assert verb("GET", "/v1/health", persona=persona) == f"{persona}.health"


def test_c22_messages_bare_or_not() -> None:
    assert {verb("POST", path) for path in ("/v1/messages", "/messages", "/v1/v1/messages")} == {"anthropic.messages"}


def test_c23_api_models_is_nobodys() -> None:
    assert not isinstance(TABLE.find("GET", "/api/models"), Match)


def test_c25_slashes() -> None:
    assert verb("POST", "//api/generate/") == "ollama.generate"
