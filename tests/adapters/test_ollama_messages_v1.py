"""/v1/messages on Ollama's listener: Anthropic's API as Ollama's layer speaks it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from adapters.base import Call
from adapters.ollama.dialect import DIALECT
from backends.errors import BackendFailed, Busy
from backends.request import ChatPrompt, FunctionCall, Image, Message, Tool
from tests.adapters.ollama_tools import JSON, JSON_UTF8, PLAIN, USER, ask
from tests.fakes import (
    CREATED,
    CUT,
    HELLO,
    STOPPED,
    THINKING,
    TWO_CALLS,
    WEATHER,
    Fails,
    Script,
    call,
    called,
    said,
)

BODY: dict[str, Any] = {"model": "m", "max_tokens": 16, "messages": USER}
TOOL = {"name": "f", "description": "F", "input_schema": {"type": "object"}}


async def answered(fields: dict[str, Any] | None = None, script: Script = HELLO, **backend: Any) -> Any:
    return (await ask("messages_v1", BODY | (fields or {}), script, **backend)).json


async def events(fields: dict[str, Any] | None = None, script: Script = HELLO, **backend: Any) -> list[Any]:
    streamed = await ask("messages_v1", BODY | {"stream": True} | (fields or {}), script, **backend)
    assert streamed.content_type == "text/event-stream"
    return [read_event(frame) for frame in streamed.frames]


def read_event(frame: bytes) -> Any:
    name, _, data = frame.partition(b"\ndata: ")
    event = orjson.loads(data.removesuffix(b"\n\n"))
    assert name == b"event: " + event["type"].encode()
    return event


async def messages_of(*messages: Any, **fields: Any) -> tuple[Message, ...]:
    prompt = (await ask("messages_v1", BODY | fields | {"messages": list(messages)})).prompt
    assert isinstance(prompt, ChatPrompt)
    return prompt.messages


# the request


async def test_a_conversation_with_tools() -> None:
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": ""},
                {"type": "text", "text": "c"},
                {"type": "tool_use", "id": "t", "name": "f", "input": {"x": 1}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "and?"},
                {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "1"}]},
                {"type": "unheard_of"},
            ],
        },
    ]
    system = [{"type": "text", "text": "x-anthropic-billing-header: cch=a5145;"}, {"type": "text", "text": "Be brief."}]
    assert await messages_of(*messages, system=system) == (
        Message("system", "x-anthropic-billing-header: cch=fffff;Be brief."),
        Message("user", "ab"),
        Message("assistant", "c", reasoning="hm", tool_calls=(FunctionCall("t", "f", '{"x":1}'),)),
        Message("tool", "1", tool_call_id="t"),
        Message("user", "and?"),
    )


async def test_pictures_are_base64_or_refused() -> None:
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAEC"}}
    seeing = replace(PLAIN, capabilities=frozenset({"completion", "vision"}))
    body = BODY | {"messages": [{"role": "user", "content": [picture]}]}
    prompt = (await ask("messages_v1", body, info=seeing)).prompt
    assert isinstance(prompt, ChatPrompt)
    assert prompt.messages == (Message("user", "", (Image(data=b"\0\1\2"),)),)


async def test_fields_reach_the_backend() -> None:
    asked = await ask(
        "messages_v1",
        BODY | {"tools": [TOOL, {"type": "web_search_20250305", "name": "web_search"}], "stop_sequences": ["X"],
                "temperature": 0.5, "top_p": 0.7, "top_k": 3, "tool_choice": {"type": "any"}},
    )  # fmt: skip
    request = asked.request
    assert (request.max_tokens, request.stop) == (16, ("X",))
    assert (request.sampling.temperature, request.sampling.top_p, request.sampling.top_k) == (0.5, 0.7, 3)
    assert isinstance(asked.prompt, ChatPrompt)
    assert asked.prompt.tools == (Tool("f", "F", {"type": "object"}),)
    assert asked.ignored == ["tool_choice", "tools.1"]


@pytest.mark.parametrize(
    ("fields", "reasoning", "effort"),
    [
        ({}, True, None),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, True, None),
        ({"thinking": {"type": "disabled"}, "output_config": {"effort": "high"}}, False, None),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": " XHIGH"}}, True, "high"),
    ],
)
async def test_thinking(fields: dict[str, Any], reasoning: bool, effort: str | None) -> None:
    asked = await ask("messages_v1", BODY | fields)
    assert isinstance(asked.prompt, ChatPrompt)
    assert asked.request.reasoning is reasoning
    assert asked.prompt.template_args.get("reasoning_effort") == effort


async def test_a_model_that_cannot_think_is_not_asked_to() -> None:
    asked = await ask("messages_v1", BODY | {"thinking": {"type": "enabled"}}, info=PLAIN)
    assert (asked.status, asked.request.reasoning) == (200, None)


REFUSED: list[tuple[Any, str]] = [
    (BODY | {"max_tokens": 0}, "max_tokens is required and must be positive"),
    (BODY | {"messages": []}, "messages is required"),
    (
        BODY | {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "x"}}]}]},
        "invalid image source type: url. Only base64 images are supported.",
    ),
    (BODY | {"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "invalid image source"),
    (
        BODY | {"messages": [{"role": "assistant", "content": [{"type": "tool_use", "name": "f", "input": {}}]}]},
        "tool_use block missing required 'id' field",
    ),
    (
        BODY | {"stream": "yes"},
        "json: cannot unmarshal string into Go struct field MessagesRequest.stream of type bool",
    ),
    ("", "EOF"),
]


@pytest.mark.parametrize(("body", "message"), REFUSED)
async def test_what_the_layer_itself_refuses(body: Any, message: str) -> None:
    refused = await ask("messages_v1", body)
    assert (refused.status, refused.content_type) == (400, JSON_UTF8)
    assert orjson.loads(refused.body) == {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": message},
        "request_id": f"req_{'0' * 24}",
    }


async def test_what_the_chat_behind_it_refuses() -> None:
    unknown = await ask("messages_v1", BODY | {"model": "nobody"})
    assert (unknown.status, unknown.content_type, unknown.body[-1:]) == (404, JSON, b"\n")
    assert unknown.error[1] == {"type": "not_found_error", "message": "model 'nobody' not found"}
    full = await ask("messages_v1", BODY, fault=Fails(Busy("full")))
    assert (full.status, full.error[1]["type"]) == (503, "overloaded_error")


# the answer


async def test_whole_answer() -> None:
    whole = await ask("messages_v1", BODY, THINKING, cached_tokens=3)
    assert (whole.content_type, whole.body[-1:]) == (JSON, b"\n")
    assert list(whole.json) == ["id", "type", "role", "model", "content", "stop_reason", "usage"]
    assert whole.json["content"] == [
        {"type": "thinking", "thinking": "Let me see."},
        {"type": "text", "text": "For" + "ty-two."},
    ]
    prompt_tokens = 1 + len("<|user|>hi\n<|assistant|>")
    assert whole.json["usage"] == {"input_tokens": prompt_tokens, "output_tokens": 21}


@pytest.mark.parametrize(
    ("script", "reason"), [(HELLO, "end_turn"), (STOPPED, "end_turn"), (CUT, "max_tokens"), (WEATHER, "tool_use")]
)
async def test_stop_reasons(script: Script, reason: str) -> None:
    assert (await answered({}, script))["stop_reason"] == reason
    delta = (await events({}, script))[-2]
    assert delta["delta"] == {"stop_reason": reason}


async def test_order_of_a_stream() -> None:
    streamed = await events({}, THINKING)
    assert [event["type"] for event in streamed] == [
        "message_start",
        *["content_block_start", "content_block_delta", "content_block_delta", "content_block_stop"] * 2,
        "message_delta",
        "message_stop",
    ]
    assert list(streamed[0]["message"]) == ["id", "type", "role", "model", "content", "usage"]
    assert streamed[1]["content_block"] == {"type": "thinking", "thinking": ""}
    assert streamed[-2]["usage"] == {"input_tokens": 25, "output_tokens": 21}


async def test_a_call_comes_whole() -> None:
    streamed = await events({"tools": [TOOL]}, TWO_CALLS)
    starts = [event["content_block"] for event in streamed if event["type"] == "content_block_start"]
    pieces = [event["delta"]["partial_json"] for event in streamed if "partial_json" in event.get("delta", {})]
    assert [start["type"] for start in starts] == ["text", "tool_use", "tool_use"]
    assert [list(start) for start in starts[1:]] == [["type", "id", "name", "input"]] * 2
    assert pieces == ['{"x":1}', "{}"]
    assert (await answered({"tools": [TOOL]}, TWO_CALLS))["content"][1]["id"] == starts[1]["id"]


async def test_text_is_escaped_as_go_does() -> None:
    streamed = await ask("messages_v1", BODY | {"stream": True}, Script(said("<b>", " & ")))
    assert rb'"text":"\u003cb\u003e"' in b"".join(streamed.frames)
    assert rb'"text":" \u0026 "' in b"".join(streamed.frames)


async def test_failures_in_the_middle_are_told() -> None:
    streamed = await events({}, HELLO, fault=Fails(BackendFailed("it broke"), after=3))
    assert streamed[-1] == {"type": "error", "error": {"type": "api_error", "message": "it broke"}}


async def test_arguments_that_are_no_object_fail() -> None:
    broken = await ask("messages_v1", BODY, Script(called("f", "{"), reason="tool_calls"))
    assert (broken.status, broken.error[1]["type"]) == (500, "api_error")


def test_ids_have_ollamas_form() -> None:
    asked: Call = replace(call("POST", "/v1/messages", BODY), id="0123456789abcdef" * 2, received=CREATED)
    reply = DIALECT.error(BackendFailed("it broke"), asked)
    assert orjson.loads(reply.body)["request_id"] == "req_0123456789abcdef01234567"
