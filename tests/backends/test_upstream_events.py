from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import BackendFailed, InvalidRequest
from backends.events import Event, Finished, Reasoning, Started, Text, ToolCallArguments, ToolCallStarted
from backends.sse import SseSplitter
from backends.upstream_events import Reading, UpstreamReader

PLAIN = Reading()
USAGE = {"prompt_tokens": 3, "completion_tokens": 9, "prompt_tokens_details": {"cached_tokens": 2}}


def chunk(text: str = "", *, end: str | None = None, ids: tuple[int, ...] = (), **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "text": text, "finish_reason": end, "token_ids": list(ids), **more}]}


def delta(end: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": end}]}


def read(*chunks: Any, reading: Reading = PLAIN, ends: bool = True) -> list[Event]:
    """A second after each other, beginning a second after the request was sent."""
    reader = UpstreamReader(reading, 10.0)
    events = [event for i, each in enumerate(chunks) for event in reader.read(orjson.dumps(each), 11.0 + i)]
    return events + reader.end() if ends else events


def finished(events: list[Event]) -> Finished:
    assert isinstance(events[-1], Finished)
    return events[-1]


def test_text_with_its_tokens_and_counts() -> None:
    first = chunk("a", ids=(1,), prompt_token_ids=[7, 8, 9])
    events = read(first, chunk("b", ids=(2, 3)), chunk(end="length"), {"choices": [], "usage": USAGE})
    assert events[:3] == [Started(0, 3, "", (7, 8, 9)), Text(0, "a", (1,)), Text(0, "b", (2, 3))]
    end = finished(events)
    assert end.reason == "length"
    assert (end.usage.prompt_tokens, end.usage.completion_tokens, end.usage.cached_tokens) == (3, 3, 2)
    assert (end.timings.prefill_s, end.timings.decode_s) == (1.0, 2.0)


def test_a_server_without_token_ids_counts_itself() -> None:
    assert finished(read(chunk("a", end="stop"), {"choices": [], "usage": USAGE})).usage.completion_tokens == 9


def test_tokens_come_with_the_text_that_they_stand_for() -> None:
    events = read(chunk(ids=(1,)), chunk("👋", ids=(2,)), chunk(end="stop", ids=(3,)))
    assert [event for event in events if isinstance(event, Text)] == [Text(0, "👋", (1, 2))]


def test_thought_and_calls_are_told_apart() -> None:
    events = read(
        delta(role="assistant", content=""),
        delta(reasoning="hm"),
        delta(reasoning_content="m"),
        delta(content="so"),
        delta(tool_calls=[{"index": 3, "id": "c1", "function": {"name": "f", "arguments": ""}}]),
        delta(tool_calls=[{"index": 3, "function": {"arguments": "{}"}}]),
        delta(tool_calls=[{"index": 4, "id": "c2", "function": {"name": "g", "arguments": "{1"}}]),
        delta("tool_calls"),
    )
    assert events[1:-1] == [
        Reasoning(0, "hm"),
        Reasoning(0, "m"),
        Text(0, "so"),
        ToolCallStarted(0, 0, "c1", "f"),
        ToolCallArguments(0, 0, "{}"),
        ToolCallStarted(0, 1, "c2", "g"),
        ToolCallArguments(0, 1, "{1"),
    ]
    assert finished(events).reason == "tool_calls"


def test_a_forced_call_that_ends_with_stop_is_a_call() -> None:
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}
    assert finished(read(delta(tool_calls=[call]), delta("stop"))).reason == "tool_calls"


@pytest.mark.parametrize(
    ("said", "stop_reason", "reason", "stop_text"),
    [
        ("stop", None, "end", None),
        ("stop", "\n", "stop_string", "\n"),
        ("stop", 5, "stop_string", None),
        ("stop", 6, "end", None),  # a token that ends a hole, not one that the client named
        ("length", None, "length", None),
    ],
)
def test_why_it_ended(said: str, stop_reason: object, reason: str, stop_text: str | None) -> None:
    reading = Reading(stop_token_ids=frozenset({5}))
    end = finished(read(chunk("a", end=said, stop_reason=stop_reason), reading=reading))
    assert (end.reason, end.stop_text) == (reason, stop_text)


def test_a_whole_body_is_read_as_one_chunk() -> None:
    message = {"role": "assistant", "content": "hi", "tool_calls": [{"id": "c", "function": {"name": "f"}}]}
    body = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": USAGE}
    events = read(body)
    assert events[:-1] == [Started(0, 3), Text(0, "hi"), ToolCallStarted(0, 0, "c", "f")]


def test_the_choice_is_numbered_as_the_client_counts() -> None:
    assert [event.index for event in read(chunk("a", end="stop"), reading=Reading(index=5))] == [5, 5, 5]


def test_echo_and_prompt_text() -> None:
    reading = Reading(echoes=True, prompt_text=lambda ids: "".join(map(chr, ids)))
    events = read(chunk("b", end="stop", prompt_token_ids=[97]), reading=reading)
    assert events[:3] == [Started(0, 1, "a", (97,)), Text(0, "a"), Text(0, "b")]


def test_a_prompt_that_is_only_evaluated_has_no_text() -> None:
    events = read(chunk("b", end="length", ids=(1,)), reading=Reading(drops_text=True))
    assert [type(event) for event in events] == [Started, Finished]
    assert finished(events).usage.completion_tokens == 0


def test_log_probabilities_by_token_id_are_exact() -> None:
    reading = Reading(token_bytes=lambda token_id: bytes([token_id]))
    logprobs = {
        "tokens": ["token_id:240"],
        "token_logprobs": [-0.5],
        "top_logprobs": [{"token_id:97": -1.0, "token_id:240": -0.5}],
    }
    (text,) = [e for e in read(chunk("x", end="stop", logprobs=logprobs), reading=reading) if isinstance(e, Text)]
    (token,) = text.logprobs
    assert (token.id, token.bytes, token.text, token.logprob) == (240, b"\xf0", "\ufffd", -0.5)
    assert [(top.id, top.text) for top in token.top] == [(240, "\ufffd"), (97, "a")]


def test_log_probabilities_of_a_chat() -> None:
    entry = {
        "token": "a",
        "logprob": -0.5,
        "bytes": [97],
        "top_logprobs": [{"token": "b", "logprob": -2, "bytes": [98]}],
    }
    wire = {"choices": [{"delta": {"content": "a"}, "logprobs": {"content": [entry]}, "finish_reason": "stop",
                         "token_ids": [7]}]}  # fmt: skip
    (text,) = [event for event in read(wire) if isinstance(event, Text)]
    assert [(t.id, t.bytes, [(o.id, o.text) for o in t.top]) for t in text.logprobs] == [(7, b"a", [(-1, "b")])]


def test_log_probabilities_of_the_prompt() -> None:
    entries = [None, {"5": {"logprob": -3.0, "rank": 9, "decoded_token": "x"},
                      "6": {"logprob": -1.0, "rank": 1, "decoded_token": "y"}}]  # fmt: skip
    wire = chunk("a", end="stop", prompt_token_ids=[4, 5], prompt_logprobs=entries)
    started = read(wire, reading=Reading(num_prompt_logprobs=1))[0]
    assert isinstance(started, Started)
    first, second = started.prompt_logprobs
    assert first is None
    assert second is not None
    assert (second.id, second.text, second.logprob, [top.id for top in second.top]) == (5, "x", -3.0, [6])


@pytest.mark.parametrize(
    "last",
    [
        {"error": {"message": "EngineCore encountered an issue", "code": 500}},
        {"error": "dead"},
        {"object": "error", "message": "old vLLM"},
        {"choices": [{"index": 0, "text": "", "finish_reason": "abort"}]},
        {"choices": [{"index": "x"}]},
        {"choices": 7},
        [],
    ],
)
def test_an_error_in_the_stream_is_no_end(last: object) -> None:
    with pytest.raises(BackendFailed):
        read(chunk("a"), last)


def test_an_error_that_is_the_request_s_fault_stays_so() -> None:
    with pytest.raises(InvalidRequest) as caught:
        read({"error": {"message": "no", "code": 400, "param": "body.top_k"}})
    assert caught.value.param == "top_k"


def test_a_stream_without_a_finish_reason_is_no_end() -> None:
    with pytest.raises(BackendFailed, match="in the middle"):
        read(chunk("a"), {"choices": [], "usage": USAGE})
    with pytest.raises(BackendFailed, match="in the middle"):
        read()


def test_an_answer_may_be_cut_when_its_time_is_over() -> None:
    reader = UpstreamReader(Reading(), 10.0)
    reader.read(orjson.dumps(chunk("a", ids=(1,))), 12.0)
    assert reader.speaks_since(15.0) == 3.0
    (end,) = reader.cut()
    assert isinstance(end, Finished)
    assert end.reason == "length"


@given(st.lists(st.binary(min_size=1).filter(lambda data: not set(b"\r\n") & set(data))), st.data())
def test_events_are_found_however_the_bytes_are_cut(payloads: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(b": comment\n\ndata: " + payload + b"\r\n\r\n" for payload in payloads)
    splitter, found, rest = SseSplitter(), [], stream
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        found += splitter.feed(rest[:size])
        rest = rest[size:]
    assert found == [payload.strip() for payload in payloads]
