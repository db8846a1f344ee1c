"""POST /v1/chat/completions and /v1beta/chat/completions as Tabby answers them: always a stream, and without `[DONE]`.

Wire facts: tabby crates/tabby/src/routes/chat.rs; async-openai types/chat.rs (CreateChatCompletionStreamResponse).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from adapters import axum
from adapters.base import Call
from adapters.openai.chat import ChatExchange
from adapters.openai.chat_body import ChatBody
from adapters.openai.common import resolve
from backends.errors import DragomanError
from backends.events import Finished


class TabbyChatExchange(ChatExchange):
    def envelope(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self.id,
            "choices": choices,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
            "object": kind,
        }

    def first_delta(self) -> dict[str, Any]:
        return {"content": "", "role": "assistant"}

    def finish_choice(self, event: Finished) -> dict[str, Any]:
        return self.chunk_choice(event.index, {}, self.finish_reason(event))

    def frame(self, value: dict[str, Any]) -> bytes:
        return axum.event(value)

    def tail(self) -> Iterable[bytes]:
        if self.options.sends_usage:
            usage = {"usage": self.usage_object(self.seen.usage)}
            yield self.frame(self.envelope(self.chunk_object, []) | usage)

    def failure(self, error: DragomanError) -> Iterable[bytes]:
        """The server itself breaks the connection off without a word."""
        return (self.frame(self.error_object(error)),)


async def chat(call: Call) -> TabbyChatExchange:
    body = ChatBody.parse(call)
    body.stream = True
    options = replace(body.options(), streams=True)
    return TabbyChatExchange(call, resolve(call, body.model), body.request(call.id), options)
