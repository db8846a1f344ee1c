"""The messages of text-generation-webui's WebSockets of 2023: the text as it comes, or the history that has it.

Wire facts: text-generation-webui extensions/api/streaming_api.py and modules/text_generation.py (generate_reply_HF,
which begins a text with an empty one; _generate_reply, which tells the last one twice), as in October 2023.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from adapters.base import KeepAlive, Reply, Served
from adapters.textgen.body import ChatBody
from backends.errors import DragomanError
from backends.events import Completion, Event, Finished, Started, Text
from backends.request import GenerateRequest


class Messages(ABC):
    """An adapters.base.Exchange over a WebSocket. An error has no message: it closes the socket."""

    content_type: ClassVar[str] = "application/json"

    def __init__(self, served: Served, request: GenerateRequest) -> None:
        self.request = request
        self.served = served
        self.streams = True
        self.headers: Mapping[str, str] = {}
        self.keep_alive: KeepAlive | None = None
        self._num_sent = 0

    @abstractmethod
    def frames(self, event: Event) -> Iterable[bytes]: ...

    def tail(self) -> Iterable[bytes]:
        return (self._message("stream_end"),)

    def failure(self, _error: DragomanError) -> Iterable[bytes]:
        return ()

    def reply(self, _completion: Completion) -> Reply:
        raise RuntimeError("a message's answer is always streamed")

    def _message(self, event: str, **content: Any) -> bytes:
        message = {"event": event, "message_num": self._num_sent, **content}
        self._num_sent += 1
        return json.dumps(message).encode()


class TextMessages(Messages):
    def frames(self, event: Event) -> Iterable[bytes]:
        match event:
            case Text():
                yield self._message("text_stream", text=event.text)
            case Started() | Finished():
                yield self._message("text_stream", text="")
            case _:
                pass


class ChatMessages(Messages):
    """Each tells the whole history."""

    def __init__(self, served: Served, request: GenerateRequest, body: ChatBody) -> None:
        super().__init__(served, request)
        self._body = body
        self._text = ""

    def frames(self, event: Event) -> Iterable[bytes]:
        match event:
            case Text() | Finished():
                self._text += event.text if isinstance(event, Text) else ""
                yield self._message("text_stream", history=self._body.history_with(self._text))
            case _:
                pass
