"""How a message is answered: blocks, their order, usage, the reason why it ends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.anthropic.blocks import parse_input
from backends.errors import BackendFailed
from tests.adapters.anthropic_tools import ask, kinds, stream
from tests.fakes import (
    CUT,
    EMOJI,
    HELLO,
    INFO,
    STOPPED,
    THINKING,
    TWO_CALLS,
    WEATHER,
    Fails,
    Piece,
    Script,
    called,
    said,
    thought,
)

SCRIPTS = [HELLO, EMOJI, CUT, STOPPED, THINKING, WEATHER, TWO_CALLS, Script(())]
GROUPS: list[tuple[Piece, ...]] = [thought("hm"), said("yes", " no"), said(""), called("f", '{"a":', "1}"), called("g")]


def accumulated(events: list[Any]) -> Any:
    """The message as an SDK makes it of a stream."""
    message = dict(events[0]["message"])
    texts: dict[int, str] = {}
    for event in events:
        match event["type"]:
            case "content_block_start":
                assert event["index"] == len(message["content"])
                message["content"] = [*message["content"], event["content_block"]]
            case "content_block_delta":
                delta, block = event["delta"], message["content"][event["index"]]
                match delta["type"]:
                    case "text_delta":
                        block["text"] += delta["text"]
                    case "thinking_delta":
                        block["thinking"] += delta["thinking"]
                    case "signature_delta":
                        block["signature"] = delta["signature"]
                    case "input_json_delta":
                        texts[event["index"]] = texts.get(event["index"], "") + delta["partial_json"]
            case "content_block_stop":
                if event["index"] in texts:
                    message["content"][event["index"]]["input"] = parse_input(texts[event["index"]])
            case "message_delta":
                message |= event["delta"]
                message["usage"] |= event["usage"]
    return message


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("fields", [{}, {"thinking": {"type": "adaptive", "display": "omitted"}}])
async def test_a_stream_says_what_the_whole_answer_says(script: Script, fields: dict[str, Any]) -> None:
    assert accumulated(await stream(fields, script)) == await ask(fields, script)


async def test_whole_answer() -> None:
    assert await ask({}, HELLO, cached_tokens=5) == {
        "model": "m",
        "id": f"msg_{'0' * 32}",
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": "Hello world"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": len("<s><|user|>hi\n<|assistant|>") - len("<s>") + 1 - 5,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 5,
            "output_tokens": 11,
            "output_tokens_details": {"thinking_tokens": 0},
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "service_tier": "standard",
        },
    }


async def test_order_of_a_stream() -> None:
    assert kinds(await stream({}, HELLO)) == [
        "message_start",
        "content_block_start",
        "ping",
        *["content_block_delta"] * 3,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


async def test_message_start_knows_what_was_cached() -> None:
    start = (await stream({}, HELLO, cached_tokens=5))[0]["message"]
    assert (start["content"], start["stop_reason"]) == ([], None)
    assert (start["usage"]["cache_read_input_tokens"], start["usage"]["output_tokens"]) == (5, 0)


async def test_thought_then_text() -> None:
    events = await stream({}, THINKING)
    blocks = [(event["index"], event["content_block"]) for event in events if event["type"] == "content_block_start"]
    assert blocks == [
        (0, {"type": "thinking", "thinking": "", "signature": ""}),
        (1, {"type": "text", "text": ""}),
    ]
    signed = [event for event in events if event.get("delta", {}).get("type") == "signature_delta"]
    assert len(signed) == 1
    assert signed[0]["delta"]["signature"]


async def test_omitted_thought_is_told_but_not_shown() -> None:
    fields = {"thinking": {"type": "adaptive", "display": "omitted"}}
    events = await stream(fields, THINKING)
    assert not [event for event in events if event.get("delta", {}).get("type") == "thinking_delta"]
    assert (await ask(fields, THINKING))["content"][0]["thinking"] == ""


async def test_calls() -> None:
    answer = await ask({}, TWO_CALLS)
    assert answer["stop_reason"] == "tool_use"
    assert answer["content"] == [
        {"type": "text", "text": "Looking."},
        {"type": "tool_use", "id": "toolu_0", "name": "f", "input": {"x": 1}},
        {"type": "tool_use", "id": "toolu_1", "name": "g", "input": {}},
    ]


async def test_arguments_cut_short_are_as_far_as_they_got() -> None:
    cut = Script(called("f", '{"city":"Paris","days":[1,2'), reason="length")
    assert (await ask({}, cut))["content"][0]["input"] == {"city": "Paris", "days": [1, 2]}


@pytest.mark.parametrize("text", ["", "null", "[1]", "}", "nonsense"])
def test_arguments_that_are_no_object_are_none(text: str) -> None:
    assert parse_input(text) == {}


async def test_the_stop_sequence_that_was_met() -> None:
    answer = await ask({"stop_sequences": [" three"]}, STOPPED)
    assert (answer["stop_reason"], answer["stop_sequence"]) == ("stop_sequence", " three")


async def test_long_enough_is_not_a_full_window() -> None:
    length = len("one two")
    assert (await ask({"max_tokens": length}, CUT))["stop_reason"] == "max_tokens"
    full = replace(INFO, window=20)
    assert (await ask({"max_tokens": 64}, CUT, info=full))["stop_reason"] == "model_context_window_exceeded"


async def test_an_error_in_the_middle_ends_the_stream() -> None:
    events = await stream({}, HELLO, fault=Fails(BackendFailed("it broke"), after=3))
    assert events[-1] == {
        "type": "error",
        "error": {"type": "api_error", "message": "it broke"},
        "request_id": f"req_{'0' * 32}",
    }
    assert "message_stop" not in kinds(events)


@given(st.lists(st.sampled_from(GROUPS), max_size=8))
async def test_blocks_are_contiguous_and_closed_before_the_next_begins(groups: list[tuple[Piece, ...]]) -> None:
    script = Script(tuple(piece for group in groups for piece in group))
    open_index, next_index = None, 0
    for event in await stream({}, script):
        match event["type"]:
            case "content_block_start":
                assert open_index is None
                assert event["index"] == next_index
                open_index, next_index = next_index, next_index + 1
            case "content_block_delta":
                assert event["index"] == open_index
            case "content_block_stop":
                assert event["index"] == open_index
                open_index = None
    assert open_index is None
