"""An answer that is never streamed, for the routes that only know whole ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import ClassVar

from adapters import framing
from adapters.base import KeepAlive, Reply, Served
from backends.errors import DragomanError
from backends.events import Completion, Event
from backends.request import GenerateRequest


class WholeExchange(ABC):
    """An adapters.base.Exchange."""

    content_type: ClassVar[str] = framing.SSE

    def __init__(self, served: Served, request: GenerateRequest) -> None:
        self.request = request
        self.served = served
        self.streams = False
        self.headers: Mapping[str, str] = {}
        self.keep_alive: KeepAlive | None = None

    def frames(self, _event: Event) -> Iterable[bytes]:
        return ()

    def tail(self) -> Iterable[bytes]:
        return ()

    def failure(self, _error: DragomanError) -> Iterable[bytes]:
        return ()

    @abstractmethod
    def reply(self, completion: Completion) -> Reply: ...
