"""How OpenAI's answers look whichever the route: envelope, usage, chunks in their order, terminator, failure.

A server that speaks OpenAI with an accent subclasses ChatExchange or CompletionExchange and overrides what differs:
the attributes set in `__init__` (id, created, model, fingerprint), `usage_object`, `envelope`, `chunk_choice`, …
All that is streamed goes through `chunk`, and all that isn't through `body`, so nothing has to be overridden twice.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, ClassVar

from adapters import framing
from adapters.base import Call, KeepAlive, Reply, Served
from adapters.framing import HOLE, Template
from adapters.openai.common import AnswerOptions
from adapters.openai.errors import error_object
from backends.errors import DragomanError
from backends.events import (
    CompletedChoice,
    Completion,
    Event,
    Finished,
    FinishReason,
    Started,
    Usage,
)
from backends.request import GenerateRequest

FINISH_REASONS: Mapping[FinishReason, str] = {
    "end": "stop",
    "stop_string": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
}
STREAM_HEADERS: Mapping[str, str] = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


class OpenAIExchange(ABC):
    """id_prefix: `chatcmpl` or `cmpl`; body_object and chunk_object: the `object` of an answer and of a chunk."""

    content_type: ClassVar[str] = framing.SSE
    id_prefix: ClassVar[str]
    body_object: ClassVar[str]
    chunk_object: ClassVar[str]

    def __init__(self, call: Call, served: Served, request: GenerateRequest, options: AnswerOptions) -> None:
        self.request = request
        self.served = served
        self.options = options
        self.streams = options.streams
        self.headers: Mapping[str, str] = STREAM_HEADERS
        self.keep_alive: KeepAlive | None = None
        self.id = f"{self.id_prefix}-{call.id}"
        self.created = int(call.received)
        self.model = call.params.get("model") or options.model or served.name
        self.fingerprint: str | None = f"fp_{served.info.digest[:10]}" if served.info.digest else None
        self.is_plain = not (options.counts_usage or options.sends_token_ids)  # chunks differ in their text alone
        self.seen = Completion(request.n)  # Started and Finished of each choice; the text isn't kept
        self.num_tokens: Counter[int] = Counter()  # by choice, so far; kept only where it is sent
        self._templates: dict[Hashable, Template] = {}

    @abstractmethod
    def frames(self, event: Event) -> Iterable[bytes]: ...

    def note(self, event: Started | Finished) -> None:
        """Must hear of every Started and Finished: usage is counted from them."""
        self.seen.add(event)

    def tail(self) -> Iterable[bytes]:
        if self.options.sends_usage:
            yield self.frame(self.envelope(self.chunk_object, []) | {"usage": self.usage_object(self.seen.usage)})
        yield framing.DONE

    def failure(self, error: DragomanError) -> Iterable[bytes]:
        """No `[DONE]` after it: a client must not take what it has for the whole answer."""
        return (framing.sse(self.error_object(error)),)

    def reply(self, completion: Completion) -> Reply:
        return Reply(framing.to_json(self.body(completion)))

    # the shapes

    def envelope(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        """What a whole answer and a chunk have around their choices. kind: the value of `object`."""
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
            "choices": choices,
        }

    def chunk(self, choice: dict[str, Any]) -> dict[str, Any]:
        chunk = self.envelope(self.chunk_object, [choice])
        if self.options.sends_usage:
            chunk["usage"] = self.running_usage(choice["index"]) if self.options.counts_usage else None
        return chunk

    def body(self, completion: Completion) -> dict[str, Any]:
        body = self.envelope(self.body_object, [self.body_choice(choice) for choice in completion.ordered])
        return body | {"usage": self.usage_object(completion.usage)}

    @abstractmethod
    def body_choice(self, choice: CompletedChoice) -> dict[str, Any]:
        """A choice of a whole answer."""

    def usage_object(self, usage: Usage) -> dict[str, Any]:
        return {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "total_tokens": usage.total_tokens,
            "prompt_tokens_details": {"cached_tokens": usage.cached_tokens, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": usage.reasoning_tokens,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }

    def running_usage(self, index: int) -> dict[str, Any]:
        """vLLM's `continuous_usage_stats`: what this choice has cost so far."""
        prompt_tokens = self.seen.choices[index].started.prompt_tokens
        return self.usage_object(Usage(prompt_tokens, self.num_tokens[index]))

    def error_object(self, error: DragomanError) -> dict[str, Any]:
        return error_object(error)

    # bytes

    def frame(self, value: dict[str, Any]) -> bytes:
        return framing.sse(value)

    def filled(self, key: Hashable, text: str, choice: Callable[[str], dict[str, Any]]) -> bytes:
        """The chunk that choice(text) makes; all of it but the text is encoded once for each key."""
        template = self._templates.get(key)
        if template is None:
            template = self._templates[key] = Template(self.frame(self.chunk(choice(HOLE))))
        return template.fill(text)
