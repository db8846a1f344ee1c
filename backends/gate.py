"""In front of a server that batches by itself: who may put an answer to it now, and who waits here for a place.

Some places are kept for completions, because a server doesn't take one back from an answer that has begun. Lives on the
event loop alone; the order is the fair queue's.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from backends.events import Event, Finished, Reasoning, Text
from backends.fair_queue import FairQueue
from backends.request import GenerateRequest, Intent


@dataclass(slots=True, eq=False)
class _Ticket:
    """has_place: it counts, even if who holds it has just given up and doesn't know yet that it was granted."""

    priority: int
    number: int
    has_place: bool = False
    granted: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Place:
    """What an answer holds while it is at the server. paid_by: as a GenerateRequest has it. num_charged: tokens, so
    far."""

    def __init__(self, queue: FairQueue[_Ticket], ticket: _Ticket, paid_by: Sequence[str]) -> None:
        self._queue = queue
        self._ticket = ticket
        self._paid_by = paid_by
        self.num_charged = 0

    def observe(self, events: Iterable[Event]) -> None:
        """Charges for tokens as they come, and at the end for what the server says that there were."""
        for event in events:
            match event:
                case Text() | Reasoning():
                    self.charge(max(1, len(event.token_ids)))
                case Finished():
                    usage = event.usage
                    self.charge(max(0, usage.total_tokens - usage.cached_tokens - self.num_charged))
                case _:
                    pass

    def charge(self, num_tokens: int) -> None:
        self.num_charged += num_tokens
        self._queue.charge(self._ticket, num_tokens, self._paid_by)


def priority_of(request: GenerateRequest) -> int:
    """Of an answer at a server that serves the lowest first: its class, and within it what the client says."""
    return 1000 * request.intent + max(-499, min(request.priority, 499))


TYPING_ANSWERS = 64
"""So many others are let in after a completion came, while the next one is expected: somebody is typing."""


class Gate:
    """max_batch_size: answers at the server at once; None: as many as come. completion_slots: of these, kept for
    completions; None: every eighth, and while somebody types one at least."""

    def __init__(self, max_batch_size: int | None = None, completion_slots: int | None = None) -> None:
        self._num_free = max_batch_size
        self._most_kept = (max_batch_size or 1) - 1
        self._completion_slots = completion_slots
        self._typing_left = 0  # answers until nobody is taken to type any more
        self._queue: FairQueue[_Ticket] = FairQueue(attrgetter("priority", "number"))
        self._num_entered = 0

    @contextlib.asynccontextmanager
    async def place(
        self, intent: Intent, client: str, priority: int = 0, paid_by: Sequence[str] = ()
    ) -> AsyncIterator[Place]:
        """For one answer, as soon as it is its turn. priority: lower goes first, among the client's own."""
        ticket = _Ticket(priority, self._num_entered)
        self._num_entered += 1
        self._queue.enter(ticket, intent, client)
        if intent is Intent.COMPLETION:
            self._typing_left = TYPING_ANSWERS
        self._admit()
        try:
            await ticket.granted
            yield Place(self._queue, ticket, paid_by)
        finally:
            self._leave(ticket)

    def _admit(self) -> None:
        while (ticket := self._next()) is not None:
            self._queue.take(ticket)
            self._typing_left = max(0, self._typing_left - 1)
            if self._num_free is not None:
                self._num_free -= 1
            ticket.has_place = True
            if not ticket.granted.cancelled():
                ticket.granted.set_result(None)

    @property
    def _num_kept(self) -> int:
        if self._completion_slots is not None:
            return min(self._completion_slots, self._most_kept)
        return min(max((self._most_kept + 1) // 8, self._typing_left > 0), self._most_kept)

    def _next(self) -> _Ticket | None:
        if self._num_free is None or self._num_free > self._num_kept:
            return self._queue.head()
        return self._queue.head_of(Intent.COMPLETION) if self._num_free else None

    def _leave(self, ticket: _Ticket) -> None:
        if self._num_free is not None and ticket.has_place:
            self._num_free += 1
        self._queue.leave(ticket)
        self._admit()
