"""What a server speaking OpenAI's API streams → events. Pure: told each chunk, and when it came.

A whole body is read as one chunk, so that both kinds of answer share one path. Wire facts: vllm
entrypoints/openai/{chat_completion,completion}/protocol.py, openai-python types/chat/chat_completion_chunk.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson

from backends.events import (
    Event,
    Finished,
    FinishReason,
    Reasoning,
    Started,
    Text,
    Timings,
    TokenLogprob,
    ToolCallArguments,
    ToolCallStarted,
    Usage,
)
from backends.upstream_errors import WorkerLost, interruption
from backends.upstream_logprobs import TokenBytes, chat_logprobs, prompt_logprobs, text_logprobs

PromptText: TypeAlias = Callable[[Sequence[int]], str]

_REASONS: Mapping[str, FinishReason] = {
    "stop": "end",
    "eos": "end",
    "content_filter": "end",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
}


@dataclass(frozen=True, slots=True)
class Reading:
    """What is to be known of a request for reading its answer.

    index: the number of the one choice that was asked for. stop_token_ids: those that the client asked for.
    prompt_text: of the prompt's token ids. token_bytes: of one id, where the tokenizer is at hand. drops_text: one
    token was asked for that nobody reads.
    """

    index: int = 0
    stop_token_ids: frozenset[int] = frozenset()
    num_prompt_logprobs: int | None = None
    prompt_text: PromptText = lambda _ids: ""
    token_bytes: TokenBytes | None = None
    echoes: bool = False
    drops_text: bool = False


class UpstreamReader:
    """sent_at: when the request was sent; seconds, as every `at`. has_begun: the first chunk is there."""

    def __init__(self, reading: Reading, sent_at: float) -> None:
        self.has_begun = False
        self._reading = reading
        self._sent_at = sent_at
        self._first_at = self._last_at = sent_at
        self._usage: Mapping[str, Any] = {}
        self._num_prompt_tokens = 0
        self._num_tokens = 0
        self._num_thought = 0
        self._num_pieces = 0  # of text
        self._ids: tuple[int, ...] = ()  # that came before their text did
        self._logprobs: tuple[TokenLogprob, ...] = ()  # of the same
        self._calls: dict[int, int] = {}  # the server's number of a tool call → ours
        self._reason: FinishReason | None = None
        self._stop_text: str | None = None

    def read(self, data: bytes, at: float) -> list[Event]:
        """data: a chunk's JSON. Raises WorkerLost for an error in the stream and for what is no chunk at all."""
        try:
            chunk = orjson.loads(data)
        except orjson.JSONDecodeError:
            raise WorkerLost(f"the model's server sends what isn't JSON: {data[:100]!r}") from None
        if not isinstance(chunk, Mapping):
            raise WorkerLost(f"the model's server sends what is no answer: {str(chunk)[:100]}")
        if chunk.get("error"):
            raise interruption(chunk["error"])
        if chunk.get("object") == "error":
            raise interruption(chunk)
        try:
            return self._events(chunk, at)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise WorkerLost(f"the model's server sends a malformed answer: {error!r}") from None

    def end(self) -> list[Event]:
        """The end of the stream, whatever it ended with. Raises WorkerLost when it hasn't said why the answer ended."""
        if self._reason is None:
            raise WorkerLost("the model's server broke off in the middle of an answer")
        return [self._finished(self._reason)]

    def cut(self) -> list[Event]:
        """The answer's time is over: what there is is all."""
        return [self._finished(self._reason or "length")]

    def speaks_since(self, now: float) -> float:
        """Seconds since the first token."""
        return now - self._first_at if self._num_tokens or self._first_at > self._sent_at else 0.0

    def _events(self, chunk: Mapping[str, Any], at: float) -> list[Event]:
        events: list[Event] = []
        self._usage = chunk.get("usage") or self._usage
        for wire in chunk.get("choices") or ():
            if not self.has_begun:
                self.has_begun = True
                events += self._begin(wire, chunk)
            self._note_tokens(wire, at)
            if not self._reading.drops_text:
                events += self._content(wire.get("delta") or wire.get("message") or wire)
            if wire.get("finish_reason"):
                self._note_end(wire)
                if self._logprobs and not self._reading.drops_text:
                    events.append(self._text(""))
        return events

    def _begin(self, wire: Mapping[str, Any], chunk: Mapping[str, Any]) -> Iterator[Event]:
        reading = self._reading
        ids = tuple(wire.get("prompt_token_ids") or chunk.get("prompt_token_ids") or ())
        self._num_prompt_tokens = len(ids) or int(self._usage.get("prompt_tokens") or 0)
        text = reading.prompt_text(ids)
        logprobs: tuple[TokenLogprob | None, ...] = ()
        if reading.num_prompt_logprobs is not None:
            wanted = wire.get("prompt_logprobs") or chunk.get("prompt_logprobs") or ()
            logprobs = prompt_logprobs(wanted, ids, reading.num_prompt_logprobs, reading.token_bytes)
        yield Started(reading.index, self._num_prompt_tokens, text, ids, logprobs)
        if reading.echoes:
            yield Text(reading.index, text)

    def _note_tokens(self, wire: Mapping[str, Any], at: float) -> None:
        ids = tuple(wire.get("token_ids") or ())
        self._num_tokens += len(ids)
        self._ids += ids
        if logprobs := wire.get("logprobs"):
            read = chat_logprobs if "content" in logprobs else text_logprobs
            self._logprobs += tuple(read(logprobs, ids, self._reading.token_bytes))
        if self._first_at == self._sent_at:
            self._first_at = at
        self._last_at = at

    def _content(self, delta: Mapping[str, Any]) -> list[Event]:
        events: list[Event] = []
        if thought := delta.get("reasoning") or delta.get("reasoning_content"):
            ids, self._ids, self._logprobs = self._ids, (), ()
            self._num_thought += len(ids)
            events.append(Reasoning(self._reading.index, thought, ids))
        if text := delta.get("content") or delta.get("text"):
            self._num_pieces += 1
            events.append(self._text(text))
        for place, call in enumerate(delta.get("tool_calls") or ()):
            self._ids, self._logprobs = (), ()
            events += self._call(call, call.get("index", place))
        return events

    def _text(self, text: str) -> Text:
        event = Text(self._reading.index, text, self._ids, self._logprobs)
        self._ids, self._logprobs = (), ()
        return event

    def _call(self, call: Mapping[str, Any], number: int) -> Iterator[Event]:
        index, function = self._reading.index, call.get("function") or {}
        if number not in self._calls:
            self._calls[number] = len(self._calls)
            call_id, name = call.get("id") or f"call_{number}", function.get("name") or ""
            yield ToolCallStarted(index, self._calls[number], call_id, name)
        if arguments := function.get("arguments"):
            yield ToolCallArguments(index, self._calls[number], arguments)

    def _note_end(self, wire: Mapping[str, Any]) -> None:
        """vLLM says under `stop_reason` which string or token it was; null is the model's own end."""
        said, stop = wire["finish_reason"], wire.get("stop_reason")
        if said not in _REASONS:
            raise WorkerLost(f"the model's server ended the answer with '{said}'")
        reason = _REASONS[said]
        if reason == "end" and isinstance(stop, str):
            reason, self._stop_text = "stop_string", stop
        elif reason == "end" and stop in self._reading.stop_token_ids:
            reason = "stop_string"
        elif reason == "end" and self._calls:
            reason = "tool_calls"  # a forced call ends with `stop`, as OpenAI has it
        self._reason = "length" if self._reading.drops_text else reason

    def _finished(self, reason: FinishReason) -> Finished:
        timings = Timings(prefill_s=self._first_at - self._sent_at, decode_s=self._last_at - self._first_at)
        return Finished(self._reading.index, reason, self._counted(), timings, self._stop_text)

    def _counted(self) -> Usage:
        """By the tokens that came, where their ids did; else by what the server says at the end, and if it says
        nothing (llama-cpp-python doesn't in a stream) by the pieces, of which each is a token or a little more."""
        usage = self._usage
        thought = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens")
        num_tokens = self._num_tokens or int(usage.get("completion_tokens") or self._num_pieces)
        return Usage(
            prompt_tokens=int(usage.get("prompt_tokens") or self._num_prompt_tokens),
            completion_tokens=0 if self._reading.drops_text else num_tokens,
            cached_tokens=int((usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0),
            reasoning_tokens=int(thought or self._num_thought),
        )
