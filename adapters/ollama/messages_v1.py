"""POST /v1/messages on Ollama's listener: Anthropic's API as Ollama's layer around its native chat speaks it.

No pings and no signatures, a call whole, and nothing of the cache. Where it differs from Ollama on purpose: an answer
without a word has an empty list of blocks, not null; an error in the middle of a stream is told; the system prompt
loses Claude Code's stamp. Wire facts: ollama anthropic/anthropic.go (StreamConverter, ToMessagesResponse),
middleware/anthropic.go (AnthropicWriter).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from adapters.anthropic.blocks import ThinkingBlock, ToolUseBlock, Value
from adapters.anthropic.exchange import STOP_REASONS, MessagesExchange
from adapters.base import Call, Reply, Served
from adapters.framing import Template
from adapters.ollama.errors import anthropic_error
from adapters.ollama.json import go_escaped, go_json
from adapters.ollama.messages_v1_body import MessagesBody
from adapters.ollama.openai import encoded
from adapters.ollama.shapes import arguments, call_id, whole_calls
from backends.errors import DragomanError
from backends.events import (
    CompletedCall,
    CompletedChoice,
    Completion,
    Finished,
    FinishReason,
    Prefilled,
    ToolCallArguments,
    ToolCallStarted,
    Usage,
)
from backends.request import GenerateRequest

_STOP_REASONS: Mapping[FinishReason, str] = {**STOP_REASONS, "stop_string": "end_turn"}


@dataclass(frozen=True, slots=True)
class UnsignedThinkingBlock(ThinkingBlock):
    def start(self) -> Value:
        return self.whole("")

    def last_deltas(self, _text: str) -> Iterator[Value]:
        yield from ()

    def whole(self, text: str) -> Value:
        return {"type": "thinking", "thinking": text}


class OllamaMessagesExchange(MessagesExchange):
    def __init__(self, call: Call, served: Served, request: GenerateRequest, *, model: str, streams: bool) -> None:
        super().__init__(call, served, request, model=model, streams=streams)
        self.headers: Mapping[str, str] = {"Cache-Control": "no-cache"}
        self.keep_alive = None
        self.id = f"msg_{call.id[:24]}"
        self._request_id = call.id
        self._calls: list[CompletedCall] = []

    def failure(self, error: DragomanError) -> Iterable[bytes]:
        told = anthropic_error(error, self._request_id)
        return (self.frame({"type": "error", "error": told["error"]}),)

    def reply(self, completion: Completion) -> Reply:
        return encoded(self.body(completion.ordered[0]))

    # the stream

    def on_prefilled(self, _event: Prefilled) -> Iterable[bytes]:
        return ()

    def on_call_started(self, event: ToolCallStarted) -> Iterator[bytes]:
        self._calls.append(CompletedCall(event.id, event.name))
        yield from ()

    def on_call_arguments(self, event: ToolCallArguments) -> Iterator[bytes]:
        self._calls[event.call].arguments += event.text
        yield from ()

    def on_finished(self, event: Finished) -> Iterator[bytes]:
        """A call is told when it is known that its arguments are an object."""
        for call in whole_calls(self._calls, event):
            given = go_json(arguments(call)).decode()
            yield from self.open_block(self.tool_block(call.id, call.name))
            yield from self.grow(given)
        yield from super().on_finished(event)

    def ping(self) -> Iterator[bytes]:
        yield from ()

    def frame(self, value: Value) -> bytes:
        name: str = value["type"]
        return b"event: " + name.encode() + b"\ndata: " + go_json(value) + b"\n\n"

    def fill(self, template: Template, text: str) -> bytes:
        return go_escaped(template.fill(text))

    # shapes

    def thinking_block(self) -> ThinkingBlock:
        return UnsignedThinkingBlock()

    def tool_block(self, backend_id: str, name: str) -> ToolUseBlock:
        return ToolUseBlock(call_id(backend_id), name)

    def body(self, choice: CompletedChoice) -> dict[str, Any]:
        choice.tool_calls = [*whole_calls(choice.tool_calls, choice.end)]
        for call in choice.tool_calls:
            arguments(call)  # raises BackendFailed
        return super().body(choice)

    def message(self, content: list[Value], usage: Usage, finished: Finished | None) -> dict[str, Any]:
        message = super().message(content, usage, finished)
        return {name: message[name] for name in ("id", "type", "role")} | message

    def usage(self, usage: Usage) -> dict[str, Any]:
        return self.delta_usage(usage)

    def delta_usage(self, usage: Usage) -> dict[str, Any]:
        return {"input_tokens": usage.prompt_tokens, "output_tokens": usage.completion_tokens}

    def stop(self, finished: Finished | None) -> Value:
        """What isn't known yet is left out; which stop sequence was met is never told."""
        return {} if finished is None else {"stop_reason": self.stop_reason(finished)}

    def stop_reason(self, finished: Finished) -> str:
        return _STOP_REASONS[finished.reason]


async def messages_v1(call: Call) -> OllamaMessagesExchange:
    body = MessagesBody.parse(call)
    native = body.to_native(call)
    scheduled = await native.schedule(call, native.find(call))
    request = native.request(call, native.prompt(), scheduled)
    return OllamaMessagesExchange(call, scheduled.served, request, model=body.model, streams=body.stream)
