"""The OpenAI dialect's errors, look-ups, tokenizer routes and embeddings."""

from __future__ import annotations

import base64
import struct
from typing import Any

import orjson
import pytest

from adapters.openai.dialect import DIALECT, make_dialect
from adapters.openai.response_store import ResponseStore
from backends.base import BackendState, ModelInfo
from backends.errors import (
    BackendFailed,
    Busy,
    DragomanError,
    InvalidField,
    InvalidRequest,
    MalformedBody,
    MissingField,
    NotReady,
    PromptTooLong,
    TooLarge,
    Unauthorized,
    UnknownModel,
    Unsupported,
)
from tests.adapters.openai_tools import USER, ask
from tests.fakes import FakeModels, ScriptedBackend, answer, call

CALL = call("POST", "/v1/chat/completions")


def error_of(error: DragomanError) -> dict[str, Any]:
    reply = DIALECT.error(error, CALL)
    body: dict[str, dict[str, Any]] = orjson.loads(reply.body)
    assert list(body) == ["error"]
    assert list(body["error"]) == ["message", "type", "param", "code"]
    return {"status": reply.status, **body["error"]}


@pytest.mark.parametrize(
    ("error", "status", "kind", "param", "code"),
    [
        (MalformedBody("unexpected end"), 400, "invalid_request_error", None, None),
        (MissingField("messages"), 400, "invalid_request_error", "messages", "missing_required_parameter"),
        (InvalidField("messages.0.role", "no"), 400, "invalid_request_error", "messages[0].role", "invalid_value"),
        (
            InvalidField("messages.0.content.12", "no"),
            400,
            "invalid_request_error",
            "messages[0].content[12]",
            "invalid_value",
        ),
        (Unsupported("no", feature="x", param="y"), 400, "invalid_request_error", "y", "unsupported_parameter"),
        (PromptTooLong(9, 8), 400, "invalid_request_error", None, "context_length_exceeded"),
        (Unauthorized("no"), 401, "invalid_request_error", None, "invalid_api_key"),
        (UnknownModel("m"), 404, "invalid_request_error", "model", "model_not_found"),
        (TooLarge("no"), 413, "invalid_request_error", None, "request_too_large"),
        (Busy("no"), 503, "server_error", None, "busy"),
        (NotReady("no"), 503, "server_error", None, "loading"),
        (BackendFailed("no"), 500, "server_error", None, "backend_failed"),
    ],
)
def test_errors(error: DragomanError, status: int, kind: str, param: str | None, code: str | None) -> None:
    shape = error_of(error)
    assert (shape["status"], shape["type"], shape["param"], shape["code"]) == (status, kind, param, code)


def test_an_over_long_prompt_tells_both_numbers() -> None:
    message = error_of(PromptTooLong(5000, 4096))["message"]
    assert "maximum context length is 4096 tokens" in message
    assert "5000" in message


def test_retry_after_is_whole_seconds() -> None:
    assert DIALECT.error(Busy("full", retry_after_s=0.2), CALL).headers == {"Retry-After": "1"}
    assert DIALECT.error(Busy("full"), CALL).headers == {}


def test_unknown_route() -> None:
    reply = DIALECT.unknown_route(call("POST", "/v1/chat/completion"), "POST /v1/chat/completions")
    error = orjson.loads(reply.body)["error"]
    assert (reply.status, error["code"]) == (404, "unknown_url")
    assert "POST /v1/chat/completion)" in error["message"]
    assert "POST /v1/chat/completions?" in error["message"]
    assert "Did you mean" not in str(DIALECT.unknown_route(call("GET", "/x"), None).body)


def test_wrong_method() -> None:
    reply = DIALECT.wrong_method(call("GET", "/v1/completions"), ["POST"])
    assert (reply.status, reply.headers["Allow"]) == (405, "POST")
    assert orjson.loads(reply.body)["error"]["code"] == "method_not_supported"


def test_browsers_may_call() -> None:
    assert DIALECT.cors(None) == {}
    assert DIALECT.cors("https://page.example") == {"Access-Control-Allow-Origin": "*"}
    asked = call("OPTIONS", "/v1/models", headers={"access-control-request-headers": "authorization,x-stainless-os"})
    assert DIALECT.preflight(asked).headers["Access-Control-Allow-Headers"] == "authorization,x-stainless-os"


@pytest.mark.parametrize("verb", ["chat", "completions", "responses", "embeddings", "edits", "tokenize", "detokenize"])
@pytest.mark.parametrize("body", ["{bad", "", "[]", "null", '"text"'])
async def test_a_body_that_is_no_json_object(verb: str, body: str) -> None:
    with pytest.raises(MalformedBody):
        await ask(verb, body)


async def test_an_unknown_model_is_refused_where_the_config_says_so() -> None:
    models = FakeModels.of(refuses=True)
    for verb, body in (("chat", {"messages": USER}), ("completions", {}), ("responses", {"input": "x"})):
        with pytest.raises(UnknownModel):
            await DIALECT.verbs[verb](call("POST", "/", body | {"model": "gpt-9"}, models=models))


# models


async def get(verb: str, *, models: FakeModels | None = None, **options: Any) -> Any:
    return (await answer(DIALECT.verbs[verb], call("GET", "/", models=models, **options))).json


async def test_models() -> None:
    body = await get("models")
    (card,) = body["data"]
    assert body == {"object": "list", "data": [card]}
    assert (card["id"], card["object"], card["created"]) == ("demo", "model", 1_700_000_001)
    assert card["max_model_len"] == 4096
    assert "embedding" in card["capabilities"]


async def test_codex_finds_its_own_list_empty() -> None:
    assert (await get("models", query={"client_version": "0.50.0"}))["models"] == []


async def test_model() -> None:
    assert (await get("model", params={"model": "gpt-3.5-turbo"}))["id"] == "demo"
    with pytest.raises(UnknownModel):
        await get("model", params={"model": "does-not-exist"})


async def test_engines() -> None:
    expected = {"id": "demo", "object": "engine", "created": 1_700_000_001, "owner": "dragoman"}
    (engine,) = (await get("engines"))["data"]
    assert expected.items() <= engine.items()
    assert await get("engine", params={"model": "demo"}) == engine
    with pytest.raises(UnknownModel):
        await get("engine", params={"model": "ada"})


async def test_health() -> None:
    assert await get("health") == {"status": "ok"}
    for state, error in ((BackendState.STARTING, NotReady), (BackendState.FAILED, BackendFailed)):
        with pytest.raises(error):
            await get("health", models=FakeModels.of(ScriptedBackend(state=state)))


async def test_version_and_ping() -> None:
    assert [part.isdecimal() for part in (await get("version"))["version"].split(".")] == [True] * 3
    assert await get("ping") == {"status": "healthy"}


# embeddings


async def test_embeddings() -> None:
    body = await ask("embeddings", {"input": ["a", "bc"], "model": "m"})
    assert [item["index"] for item in body["data"]] == [0, 1]
    assert body["data"][0]["embedding"] == [0.5, -0.5, 0.5, -0.5]
    assert (body["model"], body["usage"]) == ("m", {"prompt_tokens": 3, "total_tokens": 3})


async def test_base64_embeddings_are_little_endian_floats() -> None:
    body = await ask("embeddings", {"input": [1, 2, 3], "encoding_format": "base64"})
    (item,) = body["data"]
    assert struct.unpack("<4f", base64.b64decode(item["embedding"])) == (0.5, -0.5, 0.5, -0.5)
    assert body["usage"]["prompt_tokens"] == 3


@pytest.mark.parametrize(
    "fields",
    [
        {"input": []},
        {"input": {}},
        {"input": None},
        {"input": "a", "dimensions": 3},
        {"input": "a", "encoding_format": "x"},
    ],
)
async def test_embeddings_that_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest):
        await ask("embeddings", fields)
    await ask("embeddings", {"input": "a", "dimensions": 4})


# tokenizer


async def test_vllm_tokenize() -> None:
    assert await ask("tokenize", {"model": "m", "prompt": "hé"}) == {
        "count": 4,
        "max_model_len": 4096,
        "tokens": [256, 104, 195, 169],
        "token_strs": None,
    }
    body = await ask("tokenize", {"prompt": "h", "add_special_tokens": False, "return_token_strs": True})
    assert (body["tokens"], body["token_strs"]) == ([104], ["h"])


async def test_vllm_tokenize_of_messages() -> None:
    body = await ask("tokenize", {"messages": USER})
    assert bytes(body["tokens"]) == b"<|user|>hi\n<|assistant|>"
    body = await ask("tokenize", {"messages": USER, "add_generation_prompt": False})
    assert bytes(body["tokens"]) == b"<|user|>hi"


async def test_llama_cpps_tokenize_on_the_same_path() -> None:
    assert await ask("tokenize", {"content": "h"}) == {"tokens": [104]}
    assert await ask("tokenize", {"content": "h", "add_special": True}) == {"tokens": [256, 104]}


async def test_nothing_to_tokenize() -> None:
    with pytest.raises(MissingField):
        await ask("tokenize", {"model": "m"})


async def test_detokenize_answers_for_both_servers() -> None:
    assert await ask("detokenize", {"tokens": [104, 105]}) == {"prompt": "hi", "content": "hi"}
    with pytest.raises(InvalidField):
        await ask("detokenize", {"tokens": [999]})


async def test_two_dialects_remember_apart() -> None:
    one, two = make_dialect(ResponseStore()), make_dialect(ResponseStore())
    made = (await answer(one.verbs["responses"], call("POST", "/", {"input": "hi"}))).json
    found = await answer(one.verbs["response"], call("GET", "/", params={"id": made["id"]}))
    assert found.json == made
    with pytest.raises(DragomanError):
        await answer(two.verbs["response"], call("GET", "/", params={"id": made["id"]}))


async def test_a_model_of_unknown_digest_has_no_fingerprint() -> None:
    body = await ask("chat", {"messages": USER}, info=ModelInfo(window=10))
    assert body["system_fingerprint"] is None
    assert (await ask("chat", {"messages": USER}))["system_fingerprint"] == "fp_0123456789"
