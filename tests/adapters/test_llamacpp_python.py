"""llama-cpp-python's server around its generations: errors, headers, models, embeddings, the tokenizer."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import orjson
import pytest

from adapters.base import Served
from adapters.llamacpp_python.dialect import DIALECT
from backends.errors import (
    BackendFailed,
    Busy,
    DragomanError,
    Forbidden,
    InvalidRequest,
    NotReady,
    PromptTooLong,
    TooLarge,
    Unauthorized,
    UnknownModel,
    Unsupported,
)
from tests.adapters.llamacpp_python_tools import USER, ask, asked, recorded, recorded_body, replied
from tests.conformance.shape import differences, nothing_extra
from tests.fakes import CREATED, TOKENIZER, Fails, FakeModels, ScriptedBackend, answer, call

INVALID = {
    "completions": ["oc_max_tokens_minus1", "oc_prompt_null", "oc_prompt_tokens", "oc_temp_string", "oc_top_p_2"],
    "chat": ["chat_json_schema_oai", "chat_role_unknown"],
    "embeddings": ["embd_missing", "embd_empty_list"],
    "tokenize": ["ex_tokenize_missing", "ex_tokenize_number"],
    "detokenize": ["ex_detok_bad"],
}


@pytest.mark.parametrize(("verb", "case"), [(verb, case) for verb, cases in INVALID.items() for case in cases])
async def test_complaints_are_word_for_word_as_recorded(verb: str, case: str) -> None:
    reply = await replied(verb, recorded_body(case))
    assert (reply.status, reply.body.decode()) == (500, recorded(case).body.decode())
    assert "openai-processing-ms" not in reply.headers


@pytest.mark.parametrize("case", ["oc_bad_json", "oc_empty_body", "chat_empty_body", "auth_nokey_badjson"])
async def test_what_is_no_json_breaks_the_handler(case: str) -> None:
    reply = await replied("completions", recorded_body(case))
    theirs = recorded(case)
    assert (reply.status, reply.body, reply.content_type) == (theirs.status, theirs.body, theirs.content_type)
    assert reply.headers == {}


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (
            "null",
            "{'type': 'model_attributes_type', 'loc': ('body',), "
            "'msg': 'Input should be a valid dictionary or object to extract fields from', 'input': None}",
        ),
        (
            '{"top_p": 99999999999999999999}',
            "{'type': 'less_than_equal', 'loc': ('body', 'top_p'), 'msg': "
            "'Input should be less than or equal to 1', 'input': 99999999999999999999, 'ctx': {'le': 1.0}}",
        ),
        (
            "[1]",
            "{'type': 'model_attributes_type', 'loc': ('body',), "
            "'msg': 'Input should be a valid dictionary or object to extract fields from', 'input': [1]}",
        ),
    ],
)
async def test_a_body_that_is_no_object(body: str, fault: str) -> None:
    reply = await replied("completions", body)
    assert reply.status == 500
    assert orjson.loads(reply.body)["error"]["message"].startswith(f"1 validation error:\n  {fault}\n")


def refusal(message: str, param: str | None, code: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}


def failure(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "internal_server_error", "param": None, "code": None}}


ERRORS: list[tuple[DragomanError, int, Any]] = [
    (Unauthorized("no key"), 401, {"detail": "Invalid API key"}),
    (Busy("full"), 503, {"detail": "Service is not available"}),
    (NotReady("reading weights"), 503, {"detail": "Service is not available"}),
    (Forbidden("not here"), 403, {"detail": "not here"}),
    (TooLarge("too large"), 413, {"detail": "too large"}),
    (UnknownModel("x"), 400, refusal("The model `x` does not exist", None, "model_not_found")),
    (BackendFailed("it broke"), 500, failure("it broke")),
    (
        Unsupported("none here", feature="embeddings"),
        500,
        failure("Llama model must be created with embedding=True to call this method"),
    ),
]


@pytest.mark.parametrize(("error", "status", "body"), ERRORS)
def test_errors(error: DragomanError, status: int, body: Any) -> None:
    reply = DIALECT.error(error, call("POST", "/v1/completions"))
    assert (reply.status, orjson.loads(reply.body)) == (status, body)
    assert reply.headers["Vary"] == "Origin"


@pytest.mark.parametrize(
    ("verb", "body", "message"),
    [
        (
            "chat",
            {"messages": USER},
            "This model's maximum context length is 50 tokens. However, you requested 90 tokens (90 in the messages, "
            "None in the completion). Please reduce the length of the messages or completion.",
        ),
        (
            "completions",
            {"prompt": "x"},
            "This model's maximum context length is 50 tokens, however you requested 106 tokens (90 in your prompt; "
            "16 for the completion). Please reduce your prompt; or completion length.",
        ),
    ],
)
async def test_a_prompt_that_is_too_long(verb: str, body: Any, message: str) -> None:
    reply = await replied(verb, body, fault=Fails(PromptTooLong(90, 50)))
    assert (reply.status, orjson.loads(reply.body)) == (400, refusal(message, "messages", "context_length_exceeded"))


# headers


def test_unknown_routes_and_methods() -> None:
    made = call("GET", "/v1/nothing")
    unknown, near = DIALECT.unknown_route(made, None), DIALECT.unknown_route(made, "POST /v1/completions")
    assert (unknown.status, unknown.body) == (404, b'{"detail":"Not Found"}')
    assert (near.status, near.body) == (404, b'{"detail":"Not Found: did you mean POST /v1/completions?"}')
    wrong = DIALECT.wrong_method(made, ["POST"])
    assert (wrong.status, wrong.body, wrong.headers["Allow"]) == (405, b'{"detail":"Method Not Allowed"}', "POST")


@pytest.mark.parametrize("headers", [{}, {"Origin": "https://e.com"}, {"Access-Control-Request-Method": "POST"}])
def test_options_that_no_browser_sent_are_a_method_like_any_other(headers: dict[str, str]) -> None:
    assert DIALECT.preflight(call("OPTIONS", "/v1/models", headers=headers)) is None


def test_a_method_that_does_not_exist_is_not_granted() -> None:
    headers = {"Origin": "https://e.com", "Access-Control-Request-Method": "FOO"}
    refused = DIALECT.preflight(call("OPTIONS", "/v1/models", headers=headers))
    assert refused is not None
    assert (refused.status, refused.body) == (400, b"Disallowed CORS method")


async def test_special_tokens_are_not_written_out() -> None:
    assert await ask("detokenize", {"tokens": [TOKENIZER.bos_id, 104, 105, TOKENIZER.eos_id]}) == {"text": "hi"}


def test_preflight_is_as_recorded() -> None:
    theirs = recorded("auth_options")
    browsers = {"Origin": "https://example.com", "Access-Control-Request-Method": "POST"}
    ours = DIALECT.preflight(call("OPTIONS", "/v1/chat/completions", headers=browsers))
    assert ours is not None
    headers = {**ours.headers, **DIALECT.cors("https://example.com")}
    assert {name.lower(): value for name, value in headers.items()} == {
        name.lower(): value for name, value in theirs.headers if name.startswith(("vary", "access-control"))
    }
    assert (ours.body, ours.content_type) == (theirs.body, theirs.content_type)


async def test_a_request_id_that_is_a_uuid_comes_back() -> None:
    given = "123e4567-e89b-42d3-a456-426614174000"
    made = call("GET", "/v1/models", headers={"x-request-id": given})
    assert DIALECT.admit(made) is None
    reply = (await answer(DIALECT.verbs["models"], made)).reply
    assert reply is not None
    assert reply.headers["X-Request-Id"] == given
    assert int(reply.headers["openai-processing-ms"]) >= 0


def test_another_request_id_turns_the_request_away() -> None:
    turned_away = DIALECT.admit(call("GET", "/v1/models", headers={"X-Request-Id": "abc"}))
    assert turned_away is not None
    assert (turned_away.status, turned_away.body, turned_away.content_type) == (400, b"", "")


# the other routes


async def test_models_are_as_recorded() -> None:
    models = FakeModels([Served("tiny", ScriptedBackend(), CREATED)])
    reply = (await answer(DIALECT.verbs["models"], call("GET", "/v1/models", models=models))).reply
    assert reply is not None
    assert reply.body == recorded("v1_models").body


async def test_tokens() -> None:
    tokens = TOKENIZER.encode("héllo", add_special=True)
    assert await ask("tokenize", {"input": "héllo"}) == {"tokens": tokens}
    assert await ask("count", {"input": "héllo", "model": "m"}) == {"count": len(tokens)}
    assert await ask("detokenize", {"tokens": tokens[1:]}) == {"text": "héllo"}


async def test_embeddings_are_numbers_whatever_was_asked_for() -> None:
    made = await ask("embeddings", {"input": ["a", "bc"], "encoding_format": "base64"})
    theirs = orjson.loads(recorded("embd_list").body)
    flat = theirs | {"data": [item | {"embedding": item["embedding"][0]} for item in theirs["data"]]}
    assert differences(flat, made, nothing_extra) == []
    assert made["usage"] == {"prompt_tokens": 3, "total_tokens": 3}


async def test_ignored_fields_are_reported() -> None:
    body = {"prompt": "x", "banana": 1, "n": 2, "best_of": 2, "user": "u"}
    made = call("POST", "/v1/completions", body, models=FakeModels.of())
    await answer(DIALECT.verbs["completions"], made)
    assert made.ignored == ["banana", "n", "best_of", "user"]


async def test_no_model_is_named_by_its_path_else_by_its_name() -> None:
    assert (await ask("completions", {"prompt": "x"}))["model"] == "/models/fake.safetensors"
    assert (await ask("completions", {"prompt": "x", "model": "m"}))["model"] == "m"
    nameless = replace(ScriptedBackend().info, path="")
    assert (await ask("completions", {"prompt": "x"}, info=nameless))["model"] == "tiny"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            r'{"prompt": "\ud83d"}',
            "'utf-8' codec can't encode character '\\ud83d' in position 0: surrogates not allowed",
        ),
        ('{"prompt": "x", "logit_bias": {"a": 1}}', "invalid literal for int() with base 10: 'a'"),
    ],
)
async def test_what_python_cannot_read_is_told_in_its_words(body: str, message: str) -> None:
    reply = await replied("completions", body)
    assert (reply.status, orjson.loads(reply.body)["error"]["message"]) == (500, message)


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_a_body_that_is_not_called_json_is_bytes(content_type: str) -> None:
    asked_as = asked("completions", {"prompt": "x"}, ScriptedBackend(), headers={"Content-Type": content_type})
    with pytest.raises(InvalidRequest, match=r"""'input': b'{"prompt":"x"}'"""):
        await answer(DIALECT.verbs["completions"], asked_as)


async def test_on_other_listeners_json_is_json_whatever_it_is_called() -> None:
    asked_as = call("POST", "/extras/tokenize", {"input": "x"}, models=FakeModels.of())
    assert (await answer(DIALECT.verbs["tokenize"], asked_as)).reply is not None


@pytest.mark.parametrize("verb", ["chat", "completions"])
async def test_a_silent_stream_is_pinged_as_sse_starlette_does(verb: str) -> None:
    body = {"prompt": "x", "messages": USER, "stream": True}
    exchange = (await answer(DIALECT.verbs[verb], asked(verb, body, ScriptedBackend()))).exchange
    assert exchange is not None
    assert exchange.keep_alive is not None
    assert exchange.keep_alive.after_s == 15
    assert re.fullmatch(rb": ping - \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+\+00:00\n\n", exchange.keep_alive.frame())
