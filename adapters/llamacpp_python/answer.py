"""What llama-cpp-python's two generating routes have in common in their answers.

A chunk is written by Python's json.dumps, with blanks and `\\uXXXX`; a whole answer by Starlette, compact. Usage is
told in whole answers only. Wire facts: llama-cpp-python llama_cpp/server/app.py (get_event_publisher),
llama_cpp/llama.py.
"""

from __future__ import annotations

import json
import uuid
from abc import ABC
from collections.abc import Callable, Hashable, Iterable, Mapping
from datetime import datetime, timezone
from typing import Any, ClassVar

from adapters import framing
from adapters.base import Call, KeepAlive, Reply, Served
from adapters.framing import HOLE, Template
from adapters.llamacpp_python.errors import error_object
from adapters.llamacpp_python.http import json_reply, success_headers
from adapters.openai.common import AnswerOptions
from adapters.openai.exchange import OpenAIExchange
from backends.errors import DragomanError
from backends.events import Completion, Usage
from backends.request import GenerateRequest

_PING_AFTER_S = 15.0


class SpacedTemplate(Template):
    """Fills in text as json.dumps writes it."""

    __slots__ = ()

    def fill(self, text: str) -> bytes:
        return json.dumps(text).encode().join(self._parts)


class Accent(OpenAIExchange, ABC):
    """Comes before ChatExchange or CompletionExchange among the bases."""

    content_type: ClassVar[str] = "text/event-stream; charset=utf-8"

    def __init__(self, call: Call, served: Served, request: GenerateRequest, options: AnswerOptions) -> None:
        super().__init__(call, served, request, options)
        self.headers: Mapping[str, str] = {
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",
            **success_headers(call),
        }
        self.keep_alive = KeepAlive(_PING_AFTER_S, _ping)
        self.uuid = uuid.UUID(call.id)
        self.id = f"{self.id_prefix}-{self.uuid}"
        self.model = options.model or served.info.path or served.name
        self._call = call

    def tail(self) -> Iterable[bytes]:
        return (framing.DONE,)

    def reply(self, completion: Completion) -> Reply:
        return json_reply(self._call, self.body(completion))

    def chunk(self, choice: dict[str, Any]) -> dict[str, Any]:
        return self.envelope(self.chunk_object, [choice])

    def envelope(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model, "choices": choices}

    def usage_object(self, usage: Usage) -> dict[str, Any]:
        return {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "total_tokens": usage.total_tokens,
        }

    def error_object(self, error: DragomanError) -> dict[str, Any]:
        return error_object(error)

    def failure(self, error: DragomanError) -> Iterable[bytes]:
        """The server itself breaks the connection off without a word."""
        return (self.frame(self.error_object(error)),)

    def frame(self, value: dict[str, Any]) -> bytes:
        return b"data: " + json.dumps(value).encode() + b"\n\n"

    def filled(self, key: Hashable, text: str, choice: Callable[[str], dict[str, Any]]) -> bytes:
        template = self._templates.get(key)
        if template is None:
            template = self._templates[key] = SpacedTemplate(self.frame(self.chunk(choice(HOLE))))
        return template.fill(text)


def _ping() -> bytes:
    """As sse_starlette says it (EventSourceResponse._ping), though it does so whether or not anything else was said."""
    return f": ping - {datetime.now(timezone.utc)}\n\n".encode()
