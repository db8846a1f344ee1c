"""POST /v1/messages as llama.cpp answers it, and its count_tokens.

All blocks of a stream are stopped at its end, a call's block begins without `input`, and errors keep llama.cpp's
shape. Source: llama.cpp tools/server/server-task.cpp, to_json_anthropic*.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from adapters.base import Call, Reply
from adapters.framing import named_sse
from adapters.llamacpp.chat import count_tokens as count_chat_tokens
from adapters.llamacpp.chat_body import read_request
from adapters.llamacpp.common import json_reply
from adapters.llamacpp.errors import error_object, read_keys
from adapters.llamacpp.messages_body import CONVERTED, to_chat_body
from adapters.llamacpp.named import NamedEventExchange
from adapters.llamacpp.request import resolve
from backends.errors import DragomanError
from backends.events import (
    CompletedCall,
    CompletedChoice,
    Finished,
    FinishReason,
    Reasoning,
    Text,
    ToolCallArguments,
    ToolCallStarted,
)

_STOP_REASONS: Mapping[FinishReason, str] = {
    "end": "end_turn",
    "stop_string": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
}


class LlamaMessagesExchange(NamedEventExchange):
    def failure(self, error: DragomanError) -> Iterable[bytes]:
        return (named_sse("error", error_object(error)),)

    # streamed

    def greeting(self) -> Iterable[bytes]:
        started = self.choice.started
        usage = self._input_usage(started.prompt_tokens, self.cached_tokens) | {"output_tokens": 0}
        yield self.event("message_start", message=self._message([], None, None, usage))

    def on_text(self, event: Text | Reasoning) -> Iterable[bytes]:
        if isinstance(event, Reasoning):
            if not self.choice.reasoning:
                yield self._block_start(0, {"type": "thinking", "thinking": ""})
            yield self.filled("thinking", event.text, lambda text: self._delta(0, "thinking_delta", thinking=text))
            return
        index = self._num_thoughts
        if not self.choice.text:
            yield self._block_start(index, {"type": "text", "text": ""})
        yield self.filled("text", event.text, lambda text: self._delta(index, "text_delta", text=text))

    def on_call(self, event: ToolCallStarted) -> Iterable[bytes]:
        block = {"type": "tool_use", "id": event.id, "name": event.name}
        yield self._block_start(self._call_index(event.call), block)

    def on_arguments(self, event: ToolCallArguments) -> Iterable[bytes]:
        index = self._call_index(event.call)
        yield self.filled(
            event.call, event.text, lambda text: self._delta(index, "input_json_delta", partial_json=text)
        )

    def on_finished(self, event: Finished) -> Iterable[bytes]:
        if self._num_thoughts:
            yield self._delta(0, "signature_delta", signature="")
        for index in range(self._call_index(len(self.choice.tool_calls))):
            yield self.event("content_block_stop", index=index)
        yield self.event(
            "message_delta",
            delta={"stop_reason": _STOP_REASONS[event.reason], "stop_sequence": event.stop_text},
            usage={"output_tokens": event.usage.completion_tokens},
        )
        yield self.event("message_stop")

    @property
    def _num_thoughts(self) -> int:
        return 1 if self.choice.reasoning else 0

    def _call_index(self, call: int) -> int:
        """Blocks are numbered: thought, text, calls."""
        return self._num_thoughts + (1 if self.choice.text else 0) + call

    def _block_start(self, index: int, block: dict[str, Any]) -> bytes:
        return self.event("content_block_start", index=index, content_block=block)

    def _delta(self, index: int, kind: str, **fields: str) -> bytes:
        return self.event("content_block_delta", index=index, delta={"type": kind} | fields)

    # whole

    def body(self, choice: CompletedChoice) -> dict[str, Any]:
        end, usage = choice.end, choice.end.usage
        counts = self._input_usage(usage.prompt_tokens, usage.cached_tokens)
        return self._message(
            list(_blocks(choice)),
            _STOP_REASONS[end.reason],
            end.stop_text,
            counts | {"output_tokens": usage.completion_tokens},
        )

    def _message(
        self,
        content: list[dict[str, Any]],
        stop_reason: str | None,
        stop_sequence: str | None,
        usage: dict[str, int],
    ) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{self.id}",
            "type": "message",
            "role": "assistant",
            "content": content,
            "model": self.served.name,
            "stop_reason": stop_reason,
            "stop_sequence": stop_sequence,
            "usage": usage,
        }

    def _input_usage(self, prompt_tokens: int, cached_tokens: int) -> dict[str, int]:
        return {"cache_read_input_tokens": cached_tokens, "input_tokens": prompt_tokens - cached_tokens}


def _blocks(choice: CompletedChoice) -> Iterable[dict[str, Any]]:
    if choice.reasoning:
        yield {"type": "thinking", "thinking": choice.reasoning, "signature": ""}
    if choice.text:
        yield {"type": "text", "text": choice.text}
    for call in choice.tool_calls:
        yield {"type": "tool_use", "id": call.id, "name": call.name, "input": _input(call)}


def _input(call: CompletedCall) -> Any:
    """An answer that was cut has arguments that don't parse; an empty object stands for them."""
    try:
        return orjson.loads(call.arguments)
    except orjson.JSONDecodeError:
        return {}


async def messages(call: Call) -> LlamaMessagesExchange:
    body = read_keys(call)
    asked = await read_request(call, to_chat_body(body), resolve(call, body))
    call.ignored += [name for name in body if name not in CONVERTED]
    return LlamaMessagesExchange(call, asked)


async def count_tokens(call: Call) -> Reply:
    """POST /v1/messages/count_tokens."""
    return json_reply({"input_tokens": await count_chat_tokens(call, to_chat_body(read_keys(call)))})
