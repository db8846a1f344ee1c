"""How a message is answered, whole or as a stream of named events.

A stream is: message_start, then the content blocks one after the other, each from `content_block_start` to
`content_block_stop` with its deltas between, then message_delta and message_stop; a `ping` may come anywhere. A server
that speaks Anthropic with an accent subclasses MessagesExchange and overrides what differs. Wire facts:
docs.anthropic.com/en/docs/build-with-claude/streaming, anthropic-sdk-python `types/message.py`, `types/raw_*_event.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from typing_extensions import assert_never

from adapters import framing
from adapters.anthropic.blocks import OmittedThinkingBlock, OutputBlock, TextBlock, ThinkingBlock, ToolUseBlock, Value
from adapters.anthropic.errors import error_object, request_headers
from adapters.base import Call, KeepAlive, Reply, Served
from adapters.framing import HOLE, Template
from adapters.openai.exchange import STREAM_HEADERS
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
    Usage,
)
from backends.request import GenerateRequest

STOP_REASONS: Mapping[FinishReason, str] = {
    "end": "end_turn",
    "stop_string": "stop_sequence",
    "length": "max_tokens",
    "tool_calls": "tool_use",
}
_PING_AFTER_S = 15.0


@dataclass(slots=True)
class OpenBlock:
    """A block of the stream that hasn't ended. pieces: what it consists of, so far. template: of its deltas."""

    block: OutputBlock
    index: int
    template: Template
    pieces: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.pieces)


class MessagesExchange:
    """model: the name that the client used. shows_thought: not only that there was some."""

    content_type: ClassVar[str] = framing.SSE

    def __init__(
        self,
        call: Call,
        served: Served,
        request: GenerateRequest,
        *,
        model: str,
        streams: bool,
        shows_thought: bool = True,
    ) -> None:
        self.request = request
        self.served = served
        self.streams = streams
        self.headers: Mapping[str, str] = {**STREAM_HEADERS, **request_headers(call)}
        self.keep_alive: KeepAlive | None = KeepAlive(_PING_AFTER_S, lambda: b"".join(self.ping()))
        self.id = f"msg_{call.id}"
        self.model = model
        self._call = call
        self._shows_thought = shows_thought
        self._num_prompt_tokens = 0
        self._num_blocks = 0
        self._open: OpenBlock | None = None
        self._has_begun = False

    def frames(self, event: Event) -> Iterable[bytes]:
        match event:
            case Text():
                return self.on_text(event)
            case Reasoning():
                return self.on_reasoning(event)
            case Started():
                self._num_prompt_tokens = event.prompt_tokens
                return ()
            case Prefilled():
                return self.on_prefilled(event)
            case ToolCallStarted():
                return self.on_call_started(event)
            case ToolCallArguments():
                return self.on_call_arguments(event)
            case Finished():
                return self.on_finished(event)
            case _:
                assert_never(event)

    def tail(self) -> Iterable[bytes]:
        return ()

    def failure(self, error: DragomanError) -> Iterable[bytes]:
        return (self.frame(error_object(error, self._call)),)

    def reply(self, completion: Completion) -> Reply:
        (choice,) = completion.ordered
        return Reply(framing.to_json(self.body(choice)), headers=request_headers(self._call))

    # the stream

    def on_prefilled(self, event: Prefilled) -> Iterable[bytes]:
        """Now it is known how much of the prompt was in the cache. A long prompt is evaluated in several steps."""
        if self._has_begun:
            return self.ping()
        return self.begin(event.cached)

    def on_text(self, event: Text) -> Iterator[bytes]:
        if event.text:
            if self._open is None or not isinstance(self._open.block, TextBlock):
                yield from self.open_block(self.text_block())
            yield from self.grow(event.text)

    def on_reasoning(self, event: Reasoning) -> Iterator[bytes]:
        if event.text:
            if self._open is None or not isinstance(self._open.block, ThinkingBlock):
                yield from self.open_block(self.thinking_block())
            yield from self.grow(event.text)

    def on_call_started(self, event: ToolCallStarted) -> Iterator[bytes]:
        yield from self.open_block(self.tool_block(event.id, event.name))

    def on_call_arguments(self, event: ToolCallArguments) -> Iterator[bytes]:
        if event.text:
            yield from self.grow(event.text)

    def on_finished(self, event: Finished) -> Iterator[bytes]:
        yield from self.begin(event.usage.cached_tokens)
        yield from self.close_block()
        yield self.frame({"type": "message_delta", "delta": self.stop(event), "usage": self.delta_usage(event.usage)})
        yield self.frame({"type": "message_stop"})

    def begin(self, num_cached: int = 0) -> Iterator[bytes]:
        """Once only."""
        if not self._has_begun:
            self._has_begun = True
            message = self.message([], Usage(self._num_prompt_tokens, cached_tokens=num_cached), None)
            yield self.frame({"type": "message_start", "message": message})

    def open_block(self, block: OutputBlock) -> Iterator[bytes]:
        """Blocks come one after the other: a new one ends the last."""
        yield from self.begin()
        yield from self.close_block()
        index = self._num_blocks
        delta = {"type": "content_block_delta", "index": index, "delta": block.delta(HOLE)}
        self._open = OpenBlock(block, index, Template(self.frame(delta)))
        self._num_blocks += 1
        yield self.frame({"type": "content_block_start", "index": index, "content_block": block.start()})
        if index == 0:
            yield from self.ping()

    def ping(self) -> Iterator[bytes]:
        yield self.frame({"type": "ping"})

    def grow(self, text: str) -> Iterator[bytes]:
        if self._open is None:
            return
        self._open.pieces.append(text)
        if not self._open.block.is_silent:
            yield self.fill(self._open.template, text)

    def close_block(self) -> Iterator[bytes]:
        last, self._open = self._open, None
        if last is None:
            return
        for delta in last.block.last_deltas(last.text):
            yield self.frame({"type": "content_block_delta", "index": last.index, "delta": delta})
        yield self.frame({"type": "content_block_stop", "index": last.index})

    def frame(self, value: Value) -> bytes:
        """The event's name stands before it and in it."""
        return framing.named_sse(value["type"], value)

    def fill(self, template: Template, text: str) -> bytes:
        return template.fill(text)

    # shapes

    def text_block(self) -> TextBlock:
        return TextBlock()

    def thinking_block(self) -> ThinkingBlock:
        return ThinkingBlock() if self._shows_thought else OmittedThinkingBlock()

    def tool_block(self, call_id: str, name: str) -> ToolUseBlock:
        return ToolUseBlock(f"toolu_{call_id.removeprefix('call_')}", name)

    def body(self, choice: CompletedChoice) -> dict[str, Any]:
        return self.message(list(self.content(choice)), choice.end.usage, choice.end)

    def content(self, choice: CompletedChoice) -> Iterator[Value]:
        """What a stream would have said, in its usual order."""
        if choice.reasoning:
            yield self.thinking_block().whole(choice.reasoning)
        if choice.text:
            yield self.text_block().whole(choice.text)
        for call in choice.tool_calls:
            yield self.tool_block(call.id, call.name).whole(call.arguments)

    def message(self, content: list[Value], usage: Usage, finished: Finished | None) -> dict[str, Any]:
        """finished: None as long as it isn't."""
        return {
            "model": self.model,
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "content": content,
            **self.stop(finished),
            "usage": self.usage(usage),
        }

    def usage(self, usage: Usage) -> dict[str, Any]:
        written = {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0}
        return self.delta_usage(usage) | {"cache_creation": written, "service_tier": "standard"}

    def delta_usage(self, usage: Usage) -> dict[str, Any]:
        """input_tokens: without the cached."""
        return {
            "input_tokens": usage.prompt_tokens - usage.cached_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": usage.cached_tokens,
            "output_tokens": usage.completion_tokens,
            "output_tokens_details": {"thinking_tokens": usage.reasoning_tokens},
        }

    def stop(self, finished: Finished | None) -> Value:
        if finished is None:
            return {"stop_reason": None, "stop_sequence": None}
        return {"stop_reason": self.stop_reason(finished), "stop_sequence": finished.stop_text}

    def stop_reason(self, finished: Finished) -> str:
        """A full window isn't the same as an answer that is as long as was asked for."""
        most = self.request.max_tokens
        is_short = most is None or finished.usage.completion_tokens < most
        if finished.reason == "length" and is_short and finished.usage.total_tokens >= self.served.info.window:
            return "model_context_window_exceeded"
        return STOP_REASONS[finished.reason]
