"""Streams of named events, which llama.cpp's /v1/responses and /v1/messages have in common.

Both are chats there: their requests are converted to a chat's, and their answers rendered from the same text.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, ClassVar

from typing_extensions import assert_never

from adapters.base import Call, Reply
from adapters.framing import HOLE, SSE, Template, named_sse
from adapters.llamacpp.common import STREAM_HEADERS, json_reply
from adapters.llamacpp.request import Asked
from backends.events import (
    CompletedChoice,
    Completion,
    Event,
    Finished,
    Prefilled,
    Reasoning,
    Started,
    Text,
    ToolCallArguments,
    ToolCallStarted,
)


class NamedEventExchange(ABC):
    """A chat of one choice. What was said so far is in `choice`; `cached_tokens` is known once the prompt is read."""

    content_type: ClassVar[str] = SSE

    def __init__(self, call: Call, asked: Asked) -> None:
        self.request = asked.request
        self.served = asked.served
        self.streams = asked.fields.stream
        self.headers: Mapping[str, str] = STREAM_HEADERS
        self.keep_alive = asked.keep_alive
        self.id = call.id
        self.created = int(call.received)
        self.cached_tokens = 0
        self._said = Completion(asked.request.n)
        self._is_greeted = False
        self._templates: dict[Hashable, Template] = {}

    @property
    def choice(self) -> CompletedChoice:
        return self._said.choices[0]

    def frames(self, event: Event) -> Iterable[bytes]:
        """Nothing is sent before the first token."""
        if isinstance(event, Prefilled):
            self.cached_tokens = event.cached
        if not isinstance(event, Started | Prefilled) and not self._is_greeted:
            self._is_greeted = True
            yield from self.greeting()
        yield from self._frames(event)
        self._said.add(event)

    def _frames(self, event: Event) -> Iterable[bytes]:
        """Made before the event is added to what was said: a block begins where there was none."""
        match event:
            case Text() | Reasoning():
                return self.on_text(event) if event.text else ()
            case Started() | Prefilled():
                return ()
            case ToolCallStarted():
                return self.on_call(event)
            case ToolCallArguments():
                return self.on_arguments(event) if event.text else ()
            case Finished():
                return self.on_finished(event)
            case _:
                assert_never(event)

    def tail(self) -> Iterable[bytes]:
        return ()

    def reply(self, completion: Completion) -> Reply:
        return json_reply(self.body(completion.ordered[0]))

    @abstractmethod
    def greeting(self) -> Iterable[bytes]: ...

    @abstractmethod
    def on_text(self, event: Text | Reasoning) -> Iterable[bytes]: ...

    @abstractmethod
    def on_call(self, event: ToolCallStarted) -> Iterable[bytes]: ...

    @abstractmethod
    def on_arguments(self, event: ToolCallArguments) -> Iterable[bytes]: ...

    @abstractmethod
    def on_finished(self, event: Finished) -> Iterable[bytes]: ...

    @abstractmethod
    def body(self, choice: CompletedChoice) -> dict[str, Any]: ...

    def event(self, kind: str, **fields: Any) -> bytes:
        """An event's name is its `type` too."""
        return named_sse(kind, {"type": kind} | fields)

    def filled(self, key: Hashable, text: str, event: Callable[[str], bytes]) -> bytes:
        """The frame that event(text) makes; all of it but the text is encoded once for each key."""
        template = self._templates.get(key)
        if template is None:
            template = self._templates[key] = Template(event(HOLE))
        return template.fill(text)
