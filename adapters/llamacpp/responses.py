"""POST /v1/responses as llama.cpp answers it: without indexes and numbers, every item closed at the end.

Source: llama.cpp tools/server/server-task.cpp, to_json_oaicompat_resp*.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from adapters.base import Call, Reply
from adapters.framing import sse
from adapters.llamacpp.chat import count_tokens
from adapters.llamacpp.chat_body import read_request
from adapters.llamacpp.common import json_reply
from adapters.llamacpp.errors import error_object, read_keys
from adapters.llamacpp.named import NamedEventExchange
from adapters.llamacpp.request import resolve
from adapters.llamacpp.responses_body import to_chat_body
from adapters.llamacpp.timings import final_timings
from backends.errors import DragomanError
from backends.events import (
    CompletedCall,
    CompletedChoice,
    Finished,
    Reasoning,
    Text,
    ToolCallArguments,
    ToolCallStarted,
    Usage,
)


class LlamaResponsesExchange(NamedEventExchange):
    def failure(self, error: DragomanError) -> Iterable[bytes]:
        """Not a named event, there."""
        return (sse({"error": error_object(error)}),)

    # streamed

    def greeting(self) -> Iterable[bytes]:
        response = {"id": self._item_id("resp"), "object": "response", "status": "in_progress"}
        yield self.event("response.created", response=response)
        yield self.event("response.in_progress", response=response)

    def on_text(self, event: Text | Reasoning) -> Iterable[bytes]:
        if isinstance(event, Reasoning):
            if not self.choice.reasoning:
                yield self.event("response.output_item.added", item=self._thought_item([]) | {"status": "in_progress"})
            yield self.filled("reasoning", event.text, self._thought_delta)
            return
        if not self.choice.text:
            yield from self._message_added()
        yield self.filled("text", event.text, self._text_delta)

    def on_call(self, event: ToolCallStarted) -> Iterable[bytes]:
        ids = _call_ids(event.id)
        item = {
            "id": ids["id"],
            "arguments": "",
            "call_id": ids["call_id"],
            "name": event.name,
            "type": "function_call",
            "status": "in_progress",
        }
        yield self.event("response.output_item.added", item=item)

    def on_arguments(self, event: ToolCallArguments) -> Iterable[bytes]:
        item_id = _call_ids(self.choice.tool_calls[event.call].id)["id"]
        yield self.filled(
            event.call,
            event.text,
            lambda text: self.event("response.function_call_arguments.delta", delta=text, item_id=item_id),
        )

    def on_finished(self, event: Finished) -> Iterable[bytes]:
        choice, output = self.choice, []
        if choice.reasoning:
            output.append(self._thought_item([{"text": choice.reasoning, "type": "reasoning_text"}]))
            yield self.event("response.output_item.done", item=output[-1])
        if choice.text:
            part = _text_part(choice.text)
            item_id = self._item_id("msg")
            yield self.event("response.output_text.done", item_id=item_id, text=choice.text)
            yield self.event("response.content_part.done", item_id=item_id, part=part)
            output.append({
                "type": "message", "status": "completed", "id": item_id, "content": [part], "role": "assistant",
            })  # fmt: skip
            yield self.event("response.output_item.done", item=output[-1])
        for call in choice.tool_calls:
            output.append(_call_item(call))
            yield self.event("response.output_item.done", item=output[-1])
        response = {
            "id": self._item_id("resp"),
            "object": "response",
            "created_at": self.created,
            "status": "completed",
            "model": self.served.name,
            "output": output,
            "usage": _usage(event.usage),
        }
        yield self.event("response.completed", response=response, timings=final_timings(event))

    def _message_added(self) -> Iterable[bytes]:
        item = {
            "content": [],
            "id": self._item_id("msg"),
            "role": "assistant",
            "status": "in_progress",
            "type": "message",
        }
        yield self.event("response.output_item.added", item=item)
        part = {"type": "output_text", "text": ""}
        yield self.event("response.content_part.added", item_id=self._item_id("msg"), part=part)

    def _text_delta(self, text: str) -> bytes:
        return self.event("response.output_text.delta", item_id=self._item_id("msg"), delta=text)

    def _thought_delta(self, text: str) -> bytes:
        return self.event("response.reasoning_text.delta", delta=text, item_id=self._item_id("rs"))

    # whole

    def body(self, choice: CompletedChoice) -> dict[str, Any]:
        return {
            "completed_at": self.created,
            "created_at": self.created,
            "id": self._item_id("resp"),
            "model": self.served.name,
            "object": "response",
            "output": list(self._output(choice)),
            "status": "completed",
            "usage": _usage(choice.end.usage),
        }

    def _output(self, choice: CompletedChoice) -> Iterable[dict[str, Any]]:
        if choice.reasoning:
            thought = {"text": choice.reasoning, "type": "reasoning_text"}
            yield self._thought_item([thought]) | {"status": "completed"}
        if choice.text:
            yield {
                "content": [_text_part(choice.text)],
                "id": self._item_id("msg"),
                "role": "assistant",
                "status": "completed",
                "type": "message",
            }
        yield from (_call_item(call) for call in choice.tool_calls)

    def _thought_item(self, content: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self._item_id("rs"),
            "summary": [],
            "type": "reasoning",
            "content": content,
            "encrypted_content": "",
        }

    def _item_id(self, prefix: str) -> str:
        return f"{prefix}_{self.id}"


def _text_part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def _call_item(call: CompletedCall) -> dict[str, Any]:
    ids = _call_ids(call.id)
    return {
        "id": ids["id"],
        "type": "function_call",
        "status": "completed",
        "arguments": call.arguments,
        "call_id": ids["call_id"],
        "name": call.name,
    }


def _call_ids(call_id: str) -> dict[str, str]:
    """The item's id, and the one that the client names when it sends the result."""
    bare = call_id.removeprefix("call_")
    return {"id": f"fc_{bare}", "call_id": f"call_{bare}"}


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt_tokens,
        "output_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens},
    }


async def responses(call: Call) -> LlamaResponsesExchange:
    body = read_keys(call)
    asked = await read_request(call, to_chat_body(body), resolve(call, body))
    return LlamaResponsesExchange(call, asked)


async def input_tokens(call: Call) -> Reply:
    """POST /v1/responses/input_tokens and /v1/chat/completions/input_tokens."""
    body = read_keys(call)
    chat_body = to_chat_body(body) if "/responses" in call.path else body
    return json_reply({"input_tokens": await count_tokens(call, chat_body), "object": "response.input_tokens"})
