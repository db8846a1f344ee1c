"""/v1/responses on Ollama's listener: OpenAI's responses as Ollama's layer speaks them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from backends.errors import BackendFailed
from backends.request import AnyJson, ChatPrompt, FunctionCall, Image, JsonSchema, Message, Tool
from tests.adapters.ollama_tools import JSON, JSON_UTF8, PLAIN, ask
from tests.fakes import CUT, HELLO, THINKING, TWO_CALLS, WEATHER, Fails, Script, called, said

BODY: dict[str, Any] = {"model": "m", "input": "hi"}
TOOL = {"type": "function", "name": "f", "description": None, "strict": True, "parameters": {"type": "object"}}
KEYS = [
    "id", "object", "created_at", "completed_at", "status", "incomplete_details", "model", "previous_response_id",
    "instructions", "output", "error",
]  # fmt: skip


async def answered(fields: dict[str, Any] | None = None, script: Script = HELLO, **backend: Any) -> Any:
    return (await ask("responses_v1", BODY | (fields or {}), script, **backend)).json


async def events(fields: dict[str, Any] | None = None, script: Script = HELLO, **backend: Any) -> list[Any]:
    streamed = await ask("responses_v1", BODY | {"stream": True} | (fields or {}), script, **backend)
    assert streamed.content_type == "text/event-stream"
    read = [read_event(frame) for frame in streamed.frames]
    assert [event["sequence_number"] for event in read] == list(range(len(read)))
    assert all(list(event) == sorted(event) for event in read)  # as Go writes a map
    return read


def read_event(frame: bytes) -> Any:
    name, _, data = frame.partition(b"\ndata: ")
    event = orjson.loads(data.removesuffix(b"\n\n"))
    assert name == b"event: " + event["type"].encode()
    return event


def kinds(read: list[Any]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in read]


async def messages_of(*items: Any, **fields: Any) -> tuple[Message, ...]:
    prompt = (await ask("responses_v1", BODY | fields | {"input": list(items)})).prompt
    assert isinstance(prompt, ChatPrompt)
    return prompt.messages


def output(call_id: str, said: Any) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": said}


def input_text(said: str) -> dict[str, Any]:
    return {"type": "input_text", "text": said}


def function_call(call_id: str) -> dict[str, Any]:
    return {"type": "function_call", "call_id": call_id, "name": "f", "arguments": '{"x":1}'}


# the request


async def test_input_in_every_form() -> None:
    items = [
        {"role": "developer", "content": "D"},
        {"type": "message", "role": "user", "content": [input_text("a"), input_text("b")]},
        {"type": "reasoning", "summary": [], "encrypted_content": "hm"},
        function_call("c1"),
        function_call("c2"),
        output("c1", "1"),
        output("c2", [input_text("2")]),
        {"type": "web_search_call", "id": "ws_1"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "done"}]},
        {"role": "user", "content": "c"},
        {"type": "reasoning", "summary": [], "encrypted_content": "again"},
    ]  # fmt: skip
    calls = (FunctionCall("c1", "f", '{"x":1}'), FunctionCall("c2", "f", '{"x":1}'))
    assert await messages_of(*items, instructions="I") == (
        Message("system", "I"),
        Message("system", "D"),
        Message("user", "ab"),
        Message("assistant", "", reasoning="hm", tool_calls=calls),
        Message("tool", "1", tool_call_id="c1"),
        Message("tool", "2", tool_call_id="c2"),
        Message("assistant", "done"),
        Message("user", "c"),
        Message("assistant", "", reasoning="again"),
    )


async def test_what_is_said_between_a_call_and_its_output_joins_the_call() -> None:
    message = {"type": "message", "role": "assistant", "content": "calling"}
    assert await messages_of(function_call("c"), message, output("c", "1")) == (
        Message("assistant", "calling", tool_calls=(FunctionCall("c", "f", '{"x":1}'),)),
        Message("tool", "1", tool_call_id="c"),
    )


async def test_pictures() -> None:
    part = {"type": "input_image", "image_url": "data:image/png;base64,AAEC"}
    seeing = PLAIN.capabilities | {"vision"}
    asked = await ask(
        "responses_v1",
        BODY | {"input": [{"role": "user", "content": [part]}]},
        info=type(PLAIN)(window=4096, capabilities=seeing),
    )
    assert isinstance(asked.prompt, ChatPrompt)
    assert asked.prompt.messages == (Message("user", "", (Image(data=b"\0\1\2"),)),)


async def test_fields_reach_the_backend() -> None:
    namespace = {"type": "namespace", "name": "n", "tools": [TOOL | {"name": "g"}, TOOL | {"name": "n.h"}]}
    asked = await ask(
        "responses_v1",
        BODY | {"max_output_tokens": 7, "top_p": 0.7, "reasoning": {"effort": "minimal"}, "store": False,
                "tools": [TOOL, namespace, {"type": "web_search"}, {"type": "local_shell"}]},
    )  # fmt: skip
    request = asked.request
    assert (request.max_tokens, request.sampling.temperature, request.sampling.top_p) == (7, 1.0, 0.7)
    assert isinstance(asked.prompt, ChatPrompt)
    assert [tool.name for tool in asked.prompt.tools] == ["f", "n.g", "n.h"]
    assert asked.prompt.tools[0] == Tool("f", "", {"type": "object"})
    assert asked.prompt.template_args == {"reasoning_effort": "low"}
    assert asked.ignored == ["store", "tools.2", "tools.3"]


async def test_formats() -> None:
    for wanted, format_ in (
        ({"type": "json_schema", "name": "n", "schema": {"type": "array"}}, JsonSchema({"type": "array"})),
        ({"type": "json_object"}, AnyJson()),
        ({"type": "text"}, None),
    ):
        assert (await ask("responses_v1", BODY | {"text": {"format": wanted}})).request.output == format_


REFUSED: list[tuple[Any, str]] = [
    ("{", "unexpected EOF"),
    (BODY | {"input": 5}, "input must be a string or array"),
    (BODY | {"input": [{"content": "x"}]}, "input[0]: input item missing required 'type' field"),
    (BODY | {"input": [{"type": "x"}]}, 'input[0]: unknown input item type: "x"'),
    (BODY | {"input": [{"role": "user", "content": [{"type": "x"}]}]}, "input[0]: content[0]: unknown content type: x"),
    (BODY | {"input": [{"role": "user", "content": 5}]}, "input[0]: content must be a string or array"),
    (BODY | {"input": [{"role": "user", "content": [{"type": "input_file"}]}]},
     "file inputs are not currently supported"),
    (BODY | {"input": [function_call("c") | {"arguments": "["}]},
     "failed to parse function call arguments: they are no JSON object"),
    (BODY | {"reasoning": {"effort": "much"}}, 'invalid reasoning value: "much" (must be "minimal", "low", "medium", '
     '"high", "xhigh", "ultra", "max", or "none")'),
]  # fmt: skip


@pytest.mark.parametrize(("body", "message"), REFUSED)
async def test_what_the_layer_itself_refuses(body: Any, message: str) -> None:
    refused = await ask("responses_v1", body)
    assert (refused.status, refused.content_type) == (400, JSON_UTF8)
    assert refused.error[1] == {"message": message, "type": "invalid_request_error", "param": None, "code": None}


async def test_a_model_that_cannot_think_refuses_to() -> None:
    refused = await ask("responses_v1", BODY | {"reasoning": {"effort": "low"}}, info=PLAIN)
    assert (refused.status, refused.error[1]["message"]) == (400, '"m" does not support thinking')


# the answer


async def test_whole_answer() -> None:
    whole = await ask("responses_v1", BODY | {"tools": [TOOL], "instructions": "I"}, THINKING, cached_tokens=3)
    assert (whole.content_type, whole.body[-1:]) == (JSON, b"\n")
    assert list(whole.json)[: len(KEYS)] == KEYS
    thought, message = whole.json["output"]
    assert {key: thought[key] for key in thought if key != "id"} == {
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": "Let me see."}],
        "encrypted_content": "Let me see.",
    }
    assert message["content"] == [
        {"type": "output_text", "text": "Forty-two.", "annotations": [], "logprobs": []},
    ]
    assert (whole.json["tools"], whole.json["instructions"], whole.json["store"]) == ([TOOL], "I", False)
    assert whole.json["usage"]["input_tokens_details"] == {"cached_tokens": 0}


async def test_a_cut_answer_is_complete_too() -> None:
    assert (await answered({}, CUT))["status"] == "completed"
    assert (await events({}, CUT))[-1]["response"]["status"] == "completed"


async def test_order_of_a_stream_with_thought() -> None:
    streamed = await events({}, THINKING)
    assert kinds(streamed) == [
        "created", "in_progress",
        "output_item.added", "reasoning_summary_text.delta", "reasoning_summary_text.delta",
        "reasoning_summary_text.done", "output_item.done",
        "output_item.added", "content_part.added", "output_text.delta", "output_text.delta",
        "output_text.done", "content_part.done", "output_item.done",
        "completed",
    ]  # fmt: skip
    assert list(streamed[2]["item"]) == ["id", "summary", "type"]
    assert streamed[-1]["response"]["completed_at"] is not None
    assert streamed[0]["response"]["completed_at"] is None


async def test_a_call_comes_whole() -> None:
    streamed = await events({"tools": [TOOL]}, WEATHER)
    assert kinds(streamed)[2:-1] == [
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
    ]
    item = streamed[-1]["response"]["output"][0]
    assert (item["name"], item["arguments"]) == ("get_weather", '{"city":"Paris"}')
    assert (await answered({"tools": [TOOL]}, WEATHER))["output"][0]["call_id"] == item["call_id"]


async def test_text_before_calls_is_kept() -> None:
    assert [item["type"] for item in (await answered({}, TWO_CALLS))["output"]] == [
        "message",
        "function_call",
        "function_call",
    ]


async def test_text_is_escaped_as_go_does() -> None:
    streamed = await ask("responses_v1", BODY | {"stream": True}, Script(said("<b>")))
    assert rb'"delta":"\u003cb\u003e"' in b"".join(streamed.frames)


async def test_no_input_loads_the_model() -> None:
    loaded = await answered({"input": ""})
    assert (loaded["status"], loaded["output"][0]["content"][0]["text"]) == ("completed", "")
    streamed = await ask("responses_v1", BODY | {"input": [], "stream": True})
    assert read_event(streamed.frames[-1])["type"] == "response.completed"


async def test_failures_in_the_middle_are_told() -> None:
    streamed = await events({}, HELLO, fault=Fails(BackendFailed("it broke"), after=3))
    assert streamed[-1]["type"] == "response.failed"
    assert streamed[-1]["response"]["error"] == {"code": "server_error", "message": "it broke"}


async def test_arguments_that_are_no_object_fail() -> None:
    broken = await ask("responses_v1", BODY, Script(called("f", "{"), reason="tool_calls"))
    assert (broken.status, broken.error[1]["type"]) == (500, "api_error")
