"""POST /v1/responses and /v1/messages as llama.cpp answers them: chats in another dress."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from adapters.llamacpp.dialect import DIALECT
from backends.errors import BackendFailed
from backends.request import AnyJson, ChatPrompt, FunctionCall, JsonSchema, Message, NamedTool, Tool
from tests.adapters.llamacpp_tools import (
    GOLDEN,
    USER,
    ask,
    frames,
    keys,
    models_of,
    parsed,
    recorded,
    refusal,
    replied,
)
from tests.conformance.shape import differences, nothing_extra
from tests.conformance.stream import parse_events
from tests.fakes import (
    CUT,
    STOPPED,
    THINKING,
    TWO_CALLS,
    WEATHER,
    Fails,
    Script,
    ScriptedBackend,
    call,
    called,
    said,
)

ASK = {"input": "hi"}
SAY: dict[str, Any] = {"messages": USER, "max_tokens": 9}
FUNCTION = {"type": "function", "name": "f", "parameters": {"type": "object"}}
TOOL = {"name": "f", "input_schema": {"type": "object"}}


async def prompt_of(verb: str, body: dict[str, Any]) -> ChatPrompt:
    (prompt,) = (await parsed(verb, body)).prompts
    assert isinstance(prompt, ChatPrompt)
    return prompt


async def stream(verb: str, body: dict[str, Any], script: Script) -> list[tuple[str | None, Any]]:
    sent = await frames(verb, body, backend=ScriptedBackend(script))
    return [(event.name, event.data) for event in parse_events("text/event-stream", b"".join(sent))]


# /v1/responses: the request


async def test_input_in_every_form() -> None:
    assert (await prompt_of("responses", ASK)).messages == (Message("user", "hi"),)
    items = [
        {"role": "developer", "content": "be brief"},
        {"role": "user", "type": "message", "content": [{"type": "input_text", "text": "hi"}]},
        {"type": "reasoning", "summary": [], "content": [{"text": "hm", "type": "reasoning_text"}]},
        {"role": "assistant", "type": "message", "content": [{"type": "output_text", "text": "a"}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "42"},
        {"role": "user", "content": "and?"},
    ]
    prompt = await prompt_of("responses", {"instructions": "you are", "input": items})
    assert prompt.messages == (
        Message("system", "you are"),
        Message("system", "be brief"),
        Message("user", "hi"),
        Message("assistant", "a", reasoning="hm", tool_calls=(FunctionCall("c", "f", "{}"),)),
        Message("tool", "42", tool_call_id="c"),
        Message("user", "and?"),
    )


async def test_options_of_a_response() -> None:
    body = ASK | {"max_output_tokens": 7, "reasoning": {"effort": "none"}, "tools": [FUNCTION, {"type": "web_search"}],
                  "tool_choice": {"type": "function", "name": "f"}, "n": 3}  # fmt: skip
    request = await parsed("responses", body)
    assert (request.max_tokens, request.reasoning, request.n) == (7, False, 1)
    prompt = await prompt_of("responses", body)
    assert prompt.tools == (Tool("f", "", {"type": "object"}),)
    assert prompt.tool_choice == NamedTool("f")
    assert (await parsed("responses", ASK | {"text": {"format": {"type": "json_object"}}})).output == AnyJson()
    schema = {"format": {"type": "json_schema", "schema": {"type": "array"}}}
    assert (await parsed("responses", ASK | {"text": schema})).output == JsonSchema({"type": "array"})


@pytest.mark.parametrize("case", ["rs_missing_input", "rs_input_number", "rs_input_file", "rs_bad_json"])
async def test_recorded_refusals_of_responses(case: str) -> None:
    _, _, body = (GOLDEN / f"{case}.req").read_bytes().partition(b"\r\n\r\n")
    reply = await replied("responses", body)
    assert (reply.status, reply.body) == (recorded(case).status, recorded(case).body)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (ASK | {"previous_response_id": "resp_1"}, "llama.cpp does not support 'previous_response_id'."),
        (ASK | {"tools": {}}, "'tools' must be an array of objects"),
        ({"input": [{"type": "x"}]}, "Cannot determine type of 'item'"),
        ({"input": [5]}, "Cannot determine type of 'item'"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "'Input text' requires 'text'"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "'image_url' is required"),
        (
            {"input": [{"role": "user", "content": [{"type": "x"}]}]},
            "'type' must be one of 'input_text', 'input_image', or 'input_file'",
        ),
        (
            {"input": [{"role": "assistant", "type": "message", "content": [{"type": "x"}]}]},
            "'type' must be one of 'output_text' or 'refusal'",
        ),
        (
            {"input": [{"type": "function_call_output", "call_id": "c", "output": [{}]}]},
            "Output of tool call missing 'type' field",
        ),
        ({"input": [{"type": "reasoning", "summary": []}]}, "item['content'] is not an array"),
        ({"input": [{"type": "reasoning", "summary": [], "content": []}]}, "item['content'] is empty"),
    ],
)
async def test_other_refusals_of_responses(body: dict[str, Any], message: str) -> None:
    assert await refusal("responses", body) == (400, "invalid_request_error", message)


# /v1/responses: the answer


async def test_a_response_is_like_the_recorded_one() -> None:
    ours = await ask("responses", ASK, backend=ScriptedBackend(CUT))
    assert differences(orjson.loads(recorded("rs_instructions").body), ours, nothing_extra) == []
    assert ours["output"][0]["content"][0]["text"] == "one two"


async def test_thought_and_calls_of_a_response() -> None:
    thought, _ = (await ask("responses", ASK, backend=ScriptedBackend(THINKING)))["output"]
    assert thought["content"] == [{"text": "Let me see.", "type": "reasoning_text"}]
    (made,) = (await ask("responses", ASK | {"tools": [FUNCTION]}, backend=ScriptedBackend(WEATHER)))["output"]
    assert keys(made) == keys(orjson.loads(recorded("tc_responses_required").body)["output"][0])
    assert (made["id"], made["call_id"], made["arguments"]) == ("fc_0", "call_0", '{"city":"Paris"}')


async def test_a_streamed_response_is_like_the_recorded_one() -> None:
    ours = await stream("responses", ASK, CUT)
    theirs = parse_events("text/event-stream", recorded("rs_stream").body)
    assert list(dict.fromkeys(name for name, _ in ours)) == list(dict.fromkeys(event.name for event in theirs))
    for name, data in ours:
        like = next(event.data for event in theirs if event.name == name)
        assert differences(like, data, nothing_extra) == []
    assert ours[-1][1]["response"]["output"][0]["content"][0]["text"] == "one two"


async def test_the_order_of_a_stream_with_everything() -> None:
    script = Script((*THINKING.pieces, *called("f", "{}")), reason="tool_calls")
    names = [name for name, _ in await stream("responses", ASK | {"tools": [FUNCTION]}, script)]
    assert names == [
        "response.created", "response.in_progress",
        "response.output_item.added", "response.reasoning_text.delta", "response.reasoning_text.delta",
        "response.output_item.added", "response.content_part.added", "response.output_text.delta",
        "response.output_text.delta",
        "response.output_item.added", "response.function_call_arguments.delta",
        "response.output_item.done",
        "response.output_text.done", "response.content_part.done", "response.output_item.done",
        "response.output_item.done",
        "response.completed",
    ]  # fmt: skip


async def test_deltas_name_their_item() -> None:
    events = await stream("responses", ASK | {"tools": [FUNCTION]}, TWO_CALLS)
    deltas = [data for name, data in events if name == "response.function_call_arguments.delta"]
    assert [(delta["item_id"], delta["delta"]) for delta in deltas] == [("fc_0", '{"x":1}'), ("fc_1", "{}")]


async def test_an_error_in_the_midst_of_a_response_has_no_name() -> None:
    broken = ScriptedBackend(fault=Fails(BackendFailed("broke"), after=4))
    sent = await frames("responses", ASK, backend=broken)
    assert sent[-1] == b'data: {"error":{"code":500,"message":"broke","type":"server_error"}}\n\n'


async def test_tokens_of_an_input() -> None:
    counted = await ask("input_tokens", ASK, path="/v1/responses/input_tokens")
    assert counted == {"input_tokens": 24, "object": "response.input_tokens"}


# /v1/messages: the request


async def test_system_in_both_forms() -> None:
    prompt = await prompt_of("messages", SAY | {"system": "be brief"})
    assert prompt.messages == (Message("system", "be brief"), Message("user", "hi"))
    blocks = [{"type": "text", "text": "a", "cache_control": {}}, {"type": "text", "text": "b"}]
    assert (await prompt_of("messages", SAY | {"system": blocks})).messages[0] == Message("system", "ab")


async def test_the_stamp_of_claude_code_does_not_spoil_the_prefix() -> None:
    billing = "x-anthropic-billing-header: cc_version=2.1; cch=a5145;You are"
    prompt = await prompt_of("messages", SAY | {"system": billing})
    assert prompt.messages[0].content == "x-anthropic-billing-header: cc_version=2.1; cch=fffff;You are"
    assert (await prompt_of("messages", SAY | {"system": "cch=a5145;"})).messages[0].content == "cch=a5145;"


async def test_blocks_become_messages() -> None:
    turns = [
        {"role": "user", "content": [{"type": "text", "text": "hi"}]},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "hm", "signature": ""},
            {"type": "tool_use", "id": "t", "name": "f", "input": {"x": 1}},
        ]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "4"},
                                                                    {"type": "text", "text": "2"}]},
            {"type": "tool_result", "tool_use_id": "u", "content": "x"},
            {"type": "tool_result", "tool_use_id": "v"},
            {"type": "text", "text": "and?"},
        ]},
    ]  # fmt: skip
    prompt = await prompt_of("messages", SAY | {"messages": turns})
    assert prompt.messages == (
        Message("user", "hi"),
        Message("assistant", "", reasoning="hm", tool_calls=(FunctionCall("t", "f", '{"x":1}'),)),
        Message("user", "and?"),
        Message("tool", "42", tool_call_id="t"),
        Message("tool", "x", tool_call_id="u"),
        Message("tool", "", tool_call_id="v"),
    )


async def test_options_of_a_message() -> None:
    request = await parsed("messages", {"messages": USER})
    assert (request.max_tokens, request.stop, request.reasoning) == (4096, (), None)
    body = SAY | {"stop_sequences": ["5"], "top_k": 3, "thinking": {"type": "disabled"}, "tools": [TOOL]}
    request = await parsed("messages", body)
    assert (request.max_tokens, request.stop, request.reasoning) == (9, ("5",), False)
    assert request.sampling.top_k == 3
    for choice, expected in (
        ({"type": "auto"}, "auto"),
        ({"type": "any"}, "required"),
        ({"type": "tool", "name": "f"}, NamedTool("f")),
        ({"type": "none"}, "none"),
    ):
        assert (await prompt_of("messages", body | {"tool_choice": choice})).tool_choice == expected


async def test_what_a_message_ignores() -> None:
    asked = call("POST", "/v1/messages", SAY | {"metadata": {"user_id": "x"}}, models=models_of(ScriptedBackend()))
    await DIALECT.verbs["messages"](asked)
    assert asked.ignored == ["metadata"]


async def test_images_in_blocks_are_refused_as_recorded() -> None:
    _, _, body = (GOLDEN / "an_image.req").read_bytes().partition(b"\r\n\r\n")
    reply = await replied("messages", body)
    assert (reply.status, reply.body) == (recorded("an_image").status, recorded("an_image").body)


# /v1/messages: the answer


async def test_a_message_is_like_the_recorded_one() -> None:
    ours = await ask("messages", SAY, backend=ScriptedBackend(CUT, cached_tokens=2))
    assert differences(orjson.loads(recorded("an_basic").body), ours, nothing_extra) == []
    assert ours["usage"] == {"cache_read_input_tokens": 2, "input_tokens": 23, "output_tokens": 7}
    assert ours["stop_reason"] == "max_tokens"
    stopped = await ask("messages", SAY, backend=ScriptedBackend(STOPPED))
    assert (stopped["stop_reason"], stopped["stop_sequence"]) == ("end_turn", " three")


async def test_blocks_of_a_message() -> None:
    script = Script((*THINKING.pieces, *called("f", '{"x":', "1}"), *called("g", "{", call=1)), reason="tool_calls")
    whole = await ask("messages", SAY | {"tools": [TOOL]}, backend=ScriptedBackend(script))
    assert whole["content"] == [
        {"type": "thinking", "thinking": "Let me see.", "signature": ""},
        {"type": "text", "text": "Forty-two."},
        {"type": "tool_use", "id": "call_0", "name": "f", "input": {"x": 1}},
        {"type": "tool_use", "id": "call_1", "name": "g", "input": {}},
    ]
    assert whole["stop_reason"] == "tool_use"


@pytest.mark.parametrize(("case", "script"), [("an_stream", Script(said("a", "b"))), ("th_messages_stream", THINKING)])
async def test_a_streamed_message_is_like_the_recorded_one(case: str, script: Script) -> None:
    ours = await stream("messages", SAY, script)
    theirs = [(event.name, event.data) for event in parse_events("text/event-stream", recorded(case).body)]
    shorter = [theirs[0], *(pair for i, pair in enumerate(theirs[1:], 1) if pair[0] != theirs[i - 1][0])]
    ours_shorter = [ours[0], *(pair for i, pair in enumerate(ours[1:], 1) if pair[0] != ours[i - 1][0])]
    assert [name for name, _ in ours_shorter] == [name for name, _ in shorter]
    for (_, want), (_, have) in zip(shorter, ours_shorter, strict=True):
        assert differences(want, have, nothing_extra) == []


async def test_blocks_are_numbered_and_all_stopped_at_the_end() -> None:
    script = Script((*THINKING.pieces, *called("f", "{}")), reason="tool_calls")
    events = await stream("messages", SAY | {"tools": [TOOL]}, script)
    starts = [(data["index"], data["content_block"]["type"]) for name, data in events if name == "content_block_start"]
    assert starts == [(0, "thinking"), (1, "text"), (2, "tool_use")]
    assert [data["index"] for name, data in events if name == "content_block_stop"] == [0, 1, 2]
    assert [name for name, _ in events[-2:]] == ["message_delta", "message_stop"]
    assert events[-2][1]["delta"]["stop_reason"] == "tool_use"


async def test_cached_tokens_are_told_at_the_start() -> None:
    sent = await frames("messages", SAY, backend=ScriptedBackend(CUT, cached_tokens=5))
    (started, *_) = parse_events("text/event-stream", b"".join(sent))
    assert started.data["message"]["usage"] == {"cache_read_input_tokens": 5, "input_tokens": 20, "output_tokens": 0}


async def test_an_error_in_the_midst_of_a_message_keeps_the_servers_shape() -> None:
    broken = ScriptedBackend(fault=Fails(BackendFailed("broke"), after=4))
    sent = await frames("messages", SAY, backend=broken)
    assert sent[-1] == b'event: error\ndata: {"code":500,"message":"broke","type":"server_error"}\n\n'


async def test_one_event_a_frame() -> None:
    for verb, body in (("messages", SAY), ("responses", ASK)):
        for frame in await frames(verb, body):
            assert frame.startswith(b"event: ")
            assert frame.count(b"\n\n") == 1


async def test_count_tokens() -> None:
    assert await ask("count_tokens", {"messages": USER}) == {"input_tokens": 24}
    theirs = orjson.loads(recorded("an_count_tokens_missing").body)["error"]
    assert await refusal("count_tokens", {"model": "tiny"}) == (500, theirs["type"], theirs["message"])
