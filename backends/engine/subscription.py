"""One job's events on their way from the engine to the one who reads them. Lives on the event loop alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from backends.events import Event


class Subscription:
    """is_complete: nothing more will come."""

    def __init__(self) -> None:
        self.is_complete = False
        self._events: list[Event] = []
        self._error: Exception | None = None
        self._reader: asyncio.Future[None] | None = None  # waits for news

    def put(self, events: Sequence[Event], *, error: Exception | None = None, is_last: bool = False) -> None:
        """What comes after the last is dropped: the engine may not know yet that it failed."""
        if self.is_complete:
            return
        self._events += events
        self._error = error
        self.is_complete = is_last or error is not None
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    async def take(self) -> list[Event]:
        """Everything that has come, as soon as there is any; nothing after the last. Raises the error behind it."""
        if not self._events and not self.is_complete:
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        if not self._events and self._error is not None:
            raise self._error
        events, self._events = self._events, []
        return events
