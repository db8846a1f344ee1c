"""One generation as Ollama's lines: what /api/generate and /api/chat have in common. Knows neither's fields.

A text line is the same from token to token but for its time and its text, so the rest is encoded once. Whatever is
zero or empty is left out, as Go's `omitempty` does. Wire facts: ollama api/types.go (GenerateResponse, ChatResponse,
Metrics, Logprob), server/routes.go, server/logprob.go.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

from typing_extensions import assert_never

from adapters.base import Call, KeepAlive, Reply, Served
from adapters.framing import HOLE, JSON_UTF8, NDJSON, to_json
from adapters.ollama.errors import message_of
from adapters.ollama.json import go_json, go_time, nanoseconds
from adapters.ollama.shapes import to_logprobs
from backends.errors import DragomanError
from backends.events import (
    CompletedChoice,
    Completion,
    Event,
    Finished,
    FinishReason,
    Prefilled,
    Reasoning,
    Started,
    Text,
    TokenLogprob,
    ToolCallArguments,
    ToolCallStarted,
)
from backends.request import GenerateRequest

DONE_REASONS: Mapping[FinishReason, str] = {
    "end": "stop",
    "stop_string": "stop",
    "length": "length",
    "tool_calls": "stop",
}


class NativeExchange(ABC):
    """model: the name that the client used, which it gets back. clock: nanoseconds since the epoch."""

    content_type: ClassVar[str] = NDJSON

    def __init__(
        self,
        call: Call,
        served: Served,
        request: GenerateRequest,
        *,
        model: str,
        streams: bool,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.request = request
        self.served = served
        self.streams = streams
        self.headers: Mapping[str, str] = {}
        self.keep_alive: KeepAlive | None = None
        self.model = model
        self._clock = clock
        self._received_ns = nanoseconds(call.received)
        self._scheduling_ns = max(0, clock() - self._received_ns)
        self._seen = Completion(request.n)  # all but the text, which isn't kept
        self._head = go_json({"model": model, "created_at": ""})[:-2]
        self._text = _around_hole(self.text_line(HOLE))
        self._thought = _around_hole(self.thought_line(HOLE))

    @abstractmethod
    def text_line(self, text: str) -> dict[str, Any]:
        """From behind the time on."""

    @abstractmethod
    def thought_line(self, text: str) -> dict[str, Any]: ...

    @abstractmethod
    def answer(self, choice: CompletedChoice) -> dict[str, Any]:
        """The last line of a stream, or all there is: from behind the time on. Of a streamed choice only what the
        lines before it have not said is there."""

    def frames(self, event: Event) -> Iterable[bytes]:
        match event:
            case Text():
                self._seen.choices[event.index].token_ids += event.token_ids
                return self._lines(self._text, event.text, event.logprobs)
            case Reasoning():
                self._seen.choices[event.index].token_ids += event.token_ids
                return self._lines(self._thought, event.text)
            case Started() | ToolCallStarted() | ToolCallArguments():
                self._seen.add(event)
                return ()
            case Finished():
                self._seen.add(event)
                return (self._line(self.answer(self._seen.choices[event.index])),)
            case Prefilled():
                return ()
            case _:
                assert_never(event)

    def tail(self) -> Iterable[bytes]:
        return ()

    def failure(self, error: DragomanError) -> Iterable[bytes]:
        """One more line, and no `done` after it."""
        return (go_json({"error": message_of(error)}) + b"\n",)

    def reply(self, completion: Completion) -> Reply:
        return Reply(self._object(self.answer(completion.ordered[0])), content_type=JSON_UTF8)

    # what the answers share

    def metrics(self, choice: CompletedChoice) -> dict[str, int]:
        """Durations in nanoseconds. load_duration: until the request was scheduled, loading the model included."""
        usage, timings = choice.end.usage, choice.end.timings
        metrics = {
            "total_duration": max(0, self._clock() - self._received_ns),
            "load_duration": self._scheduling_ns + nanoseconds(timings.load_s),
            "prompt_eval_count": usage.prompt_tokens,
            "prompt_eval_duration": nanoseconds(timings.prefill_s),
            "eval_count": usage.completion_tokens,
            "eval_duration": nanoseconds(timings.decode_s),
        }
        return {name: value for name, value in metrics.items() if value}

    # bytes

    def _lines(
        self, around: tuple[bytes, bytes], text: str, logprobs: tuple[TokenLogprob, ...] = ()
    ) -> Iterable[bytes]:
        if not text and not logprobs:
            return ()
        before, after = around
        if logprobs:
            after = after[:-2] + b',"logprobs":' + go_json(to_logprobs(logprobs)) + b"}\n"
        return (b"".join((self._head, go_time(self._clock()).encode(), before, go_json(text), after)),)

    def _object(self, rest: dict[str, Any]) -> bytes:
        return go_json({"model": self.model, "created_at": go_time(self._clock()), **rest})

    def _line(self, rest: dict[str, Any]) -> bytes:
        return self._object(rest) + b"\n"


def _around_hole(rest: dict[str, Any]) -> tuple[bytes, bytes]:
    """The bytes of a line between its time and its text, and those behind the text."""
    before, _, after = go_json(rest).partition(to_json(HOLE))
    return b'",' + before[1:], after + b"\n"
