"""Every answer and every stream event fits the openai package's own models, strictly: no coercion, nothing missing."""

from __future__ import annotations

from typing import Any, TypeVar

import pytest
from openai.types import Completion, CreateEmbeddingResponse, Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseItem, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter

from adapters.openai.dialect import DIALECT
from backends.errors import BackendFailed
from tests.adapters.openai_tools import TOOLS, USER, ask, read_event, stream
from tests.fakes import (
    CUT,
    EMOJI,
    HELLO,
    STOPPED,
    THINKING,
    TWO_CALLS,
    WEATHER,
    Fails,
    FakeModels,
    Script,
    ScriptedBackend,
    answer,
    call,
)

M = TypeVar("M", bound=BaseModel)
SCRIPTS = {
    "hello": HELLO,
    "emoji": EMOJI,
    "cut": CUT,
    "stopped": STOPPED,
    "thinking": THINKING,
    "weather": WEATHER,
    "two_calls": TWO_CALLS,
    "silence": Script(()),
}
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
ITEM: TypeAdapter[Any] = TypeAdapter(ResponseItem)


def strict(model: type[M], value: object) -> M:
    return model.model_validate(value, strict=True)


@pytest.fixture(params=SCRIPTS)
def script(request: pytest.FixtureRequest) -> Script:
    return SCRIPTS[request.param]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"tools": TOOLS},
        {"functions": [{"name": "f"}]},
        {"logprobs": True, "top_logprobs": 2, "n": 2},
        {"return_token_ids": True},
        {"stream_options": {"include_usage": True}},
        {"stream_options": {"include_usage": True, "continuous_usage_stats": True}},
    ],
)
async def test_chat(script: Script, fields: dict[str, Any]) -> None:
    body = {"model": "m", "messages": USER} | fields
    strict(ChatCompletion, await ask("chat", body, script))
    *chunks, done = await stream("chat", body, script)
    assert done == "[DONE]"
    for chunk in chunks:
        strict(ChatCompletionChunk, chunk)


@pytest.mark.parametrize("fields", [{}, {"logprobs": 2}, {"prompt": ["a", "b"], "n": 2}, {"return_token_ids": True}])
async def test_text(script: Script, fields: dict[str, Any]) -> None:
    """A chunk's finish_reason is null until the last, in OpenAI's own streams too; the model leaves that out."""
    body = {"model": "m", "prompt": "a"} | fields
    strict(Completion, await ask("completions", body, script))
    for chunk in (await stream("completions", body, script))[:-1]:
        for choice in chunk["choices"]:
            choice["finish_reason"] = choice["finish_reason"] or "stop"
        strict(Completion, chunk)


RESPONSE_FIELDS: list[dict[str, Any]] = [
    {},
    {"reasoning": {"effort": "low", "summary": "auto"}, "include": ["reasoning.encrypted_content"]},
    {"include": ["message.output_text.logprobs"], "top_logprobs": 2},
    {
        "instructions": "Be brief.",
        "tools": [
            {"type": "function", "name": "f", "parameters": {"type": "object"}},
            {"type": "web_search_preview"},
        ],
        "tool_choice": {"type": "function", "name": "f"},
        "metadata": {"a": "b"},
        "text": {"format": {"type": "json_schema", "name": "r", "schema": {"type": "object"}, "strict": True}},
        "max_output_tokens": 16,
        "temperature": 0.5,
        "truncation": "auto",
    },
]


@pytest.mark.parametrize("fields", RESPONSE_FIELDS)
async def test_responses(script: Script, fields: dict[str, Any]) -> None:
    body = {"model": "m", "input": "hi"} | fields
    strict(Response, await ask("responses", body, script))
    asked = call("POST", "/v1/responses", body | {"stream": True}, models=FakeModels.of(ScriptedBackend(script)))
    for frame in (await answer(DIALECT.verbs["responses"], asked)).frames:
        EVENT.validate_python(read_event(frame), strict=True)


async def test_a_failed_response() -> None:
    backend = ScriptedBackend(HELLO, fault=Fails(BackendFailed("broke"), after=3))
    asked = call("POST", "/v1/responses", {"input": "hi", "stream": True}, models=FakeModels.of(backend))
    frames = (await answer(DIALECT.verbs["responses"], asked)).frames
    event = EVENT.validate_python(read_event(frames[-1]), strict=True)
    assert (event.type, event.response.error.code) == ("response.failed", "server_error")


async def test_embeddings_and_models() -> None:
    strict(CreateEmbeddingResponse, await ask("embeddings", {"input": ["a", "b"]}))
    models = (await answer(DIALECT.verbs["models"], call("GET", "/v1/models"))).json
    for card in models["data"]:
        strict(Model, card)


async def test_input_items() -> None:
    items = [
        {"role": "user", "content": "hi"},
        {"role": "user", "content": [{"type": "input_text", "text": "a"}, {"type": "input_image", "image_url": "http://x/y"}]},
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "t"}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "3"},
        {"role": "assistant", "content": "three"},
    ]  # fmt: skip
    response = await ask("responses", {"input": items})
    listing = await answer(
        DIALECT.verbs["response_input_items"], call("GET", "/v1/responses/x/input_items", params={"id": response["id"]})
    )
    assert len(listing.json["data"]) == len(items)
    for item in listing.json["data"]:
        ITEM.validate_python(item, strict=True)
