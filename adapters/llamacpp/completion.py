"""POST /completion and its aliases: llama.cpp's native text completion, whole and streamed.

Every event of a stream has `content` and `stop`; there is no terminator, because old clients parse each line as such an
event. Source: llama.cpp tools/server/server-task.cpp (to_json_non_oaicompat) and
server-context.cpp (handle_completions_impl).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from typing_extensions import assert_never

from adapters.base import Reply
from adapters.framing import SSE, sse, to_json
from adapters.llamacpp.common import STREAM_HEADERS, json_reply
from adapters.llamacpp.errors import error_object
from adapters.llamacpp.indent import IndentLimit
from adapters.llamacpp.request import Asked
from adapters.llamacpp.settings import generation_settings
from adapters.llamacpp.timings import Stopwatch, final_timings, probabilities, progress
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
    ToolCallArguments,
    ToolCallStarted,
)
from backends.request import TextPrompt

_STOP_TYPES: Mapping[FinishReason, str] = {
    "end": "eos",
    "stop_string": "word",
    "length": "limit",
    "tool_calls": "eos",
}

_NO_TOKEN = (0,)  # what `tokens` says in an event without a token


@dataclass(slots=True)
class _Progress:
    """A choice while it is streamed. head and tail: what is the same in all its events, encoded once."""

    watch: Stopwatch
    indent: IndentLimit
    head: bytes
    tail: bytes
    has_new_line: bool = False
    last_tokens: tuple[int, ...] = _NO_TOKEN

    @classmethod
    def begin(cls, event: Started, least_indent: int, clock: Callable[[], float]) -> _Progress:
        head, tail = b'data: {"index":%d,"content":' % event.index, b',"tokens_evaluated":%d' % event.prompt_tokens
        return cls(Stopwatch(event, clock), IndentLimit(least_indent), head, tail)

    def take(self, event: Text | Reasoning) -> str:
        """What of its text may be shown."""
        self.watch.count(len(event.token_ids) or 1)
        if event.token_ids:
            self.last_tokens = event.token_ids[-1:]
        text = self.indent.feed(event.text)
        if "\n" in text:
            self.has_new_line = True
        return text

    def partial(self, text: str, token_ids: tuple[int, ...], more: dict[str, Any] | None = None) -> bytes:
        """An event before the last. Most differ in three values, so they are put together from bytes."""
        ids = b"%d" % token_ids[0] if len(token_ids) == 1 else to_json(token_ids)[1:-1]
        middle = b',"tokens":[%b],"stop":false,"id_slot":-1,"tokens_predicted":%d' % (ids, self.watch.num_tokens)
        end = b"}\n\n" if more is None else b"," + to_json(more)[1:] + b"\n\n"
        return b"".join((self.head, to_json(text), middle, self.tail, end))


class CompletionExchange:
    """clock: seconds; read only for timings that are told before the end."""

    content_type: ClassVar[str] = SSE

    def __init__(self, asked: Asked, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self.request = asked.request
        self.served = asked.served
        self.streams = asked.fields.stream
        self.headers: Mapping[str, str] = STREAM_HEADERS
        self.keep_alive = asked.keep_alive
        self._fields = asked.fields
        self._clock = clock
        self._choices: dict[int, _Progress] = {}

    def frames(self, event: Event) -> Iterable[bytes]:
        match event:
            case Text() | Reasoning():
                return self._on_text(event)
            case Started():
                return self._on_started(event)
            case Prefilled():
                return self._on_prefilled(event)
            case Finished():
                return self._on_finished(event)
            case ToolCallStarted() | ToolCallArguments():  # this route has no tools
                return ()
            case _:
                assert_never(event)

    def tail(self) -> Iterable[bytes]:
        return ()

    def failure(self, error: DragomanError) -> Iterable[bytes]:
        return (sse({"error": error_object(error)}),)

    def reply(self, completion: Completion) -> Reply:
        """One object; several prompts, or several completions of one, are an array."""
        bodies = [self.whole(choice) for choice in completion.ordered]
        return json_reply(bodies[0] if len(bodies) == 1 else bodies)

    # streamed

    def _on_started(self, event: Started) -> Iterable[bytes]:
        self._choices[event.index] = _Progress.begin(event, self._fields.n_indent, self._clock)
        # llama-server marks the begin of each prompt, and holds back the first mark only
        is_marked = event.index > 0 and event.index % self.request.n == 0
        return (sse(None),) if is_marked else ()

    def _on_prefilled(self, event: Prefilled) -> Iterable[bytes]:
        choice = self._choices[event.index]
        choice.watch.prefilled = event
        if not self._fields.return_progress:
            return ()
        return (choice.partial("", _NO_TOKEN, {"prompt_progress": progress(event)}),)

    def _on_text(self, event: Text | Reasoning) -> Iterable[bytes]:
        choice = self._choices[event.index]
        if choice.indent.is_reached:
            return ()
        text = choice.take(event)
        logprobs = event.logprobs if isinstance(event, Text) else ()
        if not logprobs and not self._fields.timings_per_token:
            return (choice.partial(text, event.token_ids),)
        more: dict[str, Any] = {}
        if self._fields.timings_per_token:
            more["timings"] = choice.watch.timings()
        if logprobs:
            more["completion_probabilities"] = self._probabilities(logprobs)
        return (choice.partial(text, event.token_ids, more),)

    def _on_finished(self, event: Finished) -> Iterable[bytes]:
        choice = self._choices[event.index]
        if event.reason == "stop_string":  # the token that completes a stop string has an event with timings
            yield choice.partial("", choice.last_tokens, {"timings": final_timings(event)})
        whole = self._final(choice.watch.started, event, choice.has_new_line, is_cut=choice.indent.is_reached)
        yield sse(self._projected(whole))

    # whole

    def whole(self, choice: CompletedChoice) -> dict[str, Any]:
        """The answer for one choice, when it isn't streamed."""
        indent = IndentLimit(self._fields.n_indent)
        text = indent.feed(choice.reasoning + choice.text)
        whole = self._final(choice.started, choice.end, "\n" in text, is_cut=indent.is_reached)
        whole["content"] = text
        if self._fields.return_tokens:
            whole["tokens"] = choice.token_ids
        if choice.logprobs:
            whole["completion_probabilities"] = self._probabilities(choice.logprobs)
        return self._projected(whole)

    def _final(self, started: Started, end: Finished, has_new_line: bool, *, is_cut: bool) -> dict[str, Any]:
        """The last event of a stream. `stopped_*` are the early-2024 form of `stop_type`."""
        info = self.served.info
        num_prompt, num_predicted = started.prompt_tokens, end.usage.completion_tokens
        stop_type = "limit" if is_cut else _STOP_TYPES[end.reason]
        return {
            "index": end.index,
            "content": "",
            "tokens": [],
            "id_slot": started.slot,
            "stop": True,
            "model": self.served.name,
            "tokens_predicted": num_predicted,
            "tokens_evaluated": num_prompt,
            "generation_settings": generation_settings(self._fields, window=info.window, model=self.served.name),
            "prompt": started.prompt_text or self._prompt_text(end.index),
            "has_new_line": has_new_line,
            "truncated": stop_type == "limit" and 0 < info.window <= num_prompt + num_predicted,
            "stop_type": stop_type,
            "stopping_word": end.stop_text or "",
            "tokens_cached": num_prompt + max(0, num_predicted - 1),
            "timings": final_timings(end),
            "stopped_eos": stop_type == "eos",
            "stopped_limit": stop_type == "limit",
            "stopped_word": stop_type == "word",
        }

    def _prompt_text(self, index: int) -> str:
        """What the client sent, where the backend doesn't tell what the model got."""
        prompt = self.request.prompts[index // self.request.n]
        parts = prompt.parts if isinstance(prompt, TextPrompt) else ()
        return "".join(part for part in parts if isinstance(part, str))

    def _probabilities(self, tokens: Iterable[Any]) -> list[dict[str, Any]]:
        return probabilities(tokens, is_post_sampling=self._fields.post_sampling_probs)

    def _projected(self, whole: dict[str, Any]) -> dict[str, Any]:
        """`response_fields`: only these; `a/b` is found inside `a` and told flat; what isn't there is left out."""
        if not self._fields.response_fields:
            return whole
        found = ((path, _look_up(whole, path)) for path in self._fields.response_fields)
        return {path: value for path, value in found if value is not None}


def _look_up(value: Any, path: str) -> Any:
    for key in path.split("/"):
        value = value.get(key) if isinstance(value, dict) else None
    return value
