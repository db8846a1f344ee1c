"""A model and how it is used: who waits for it, who has it, and how long it stays when nobody does.

Requests take a ticket here; when it is granted decides the group that the model is in. Between two groups, or while
another backend takes the place of the one before, the tickets simply wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from backends.base import Backend, BackendState
from backends.errors import BackendFailed, DragomanError, NotReady

_RETRY_AFTER_S = 5.0  # where nothing tells when it is ready


@dataclass(slots=True, eq=False)
class Ticket:
    """A request that waits. granted: the backend, once it is its turn."""

    since: float  # on the monotonic clock
    granted: asyncio.Future[Backend] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


@dataclass(slots=True, eq=False)
class Resident:
    """unload_after_s: idle seconds after which it is unloaded; None: never. is_pinned: no client unloads it either.
    asked_s: the same as a client asked for it, in force until it is unloaded. changed: tells its group to look again.
    is_open: may a request have it at once? Its group knows.
    """

    name: str
    backend: Backend
    unload_after_s: float | None = None
    is_pinned: bool = False
    num_running: int = 0
    idle_since: float = 0.0
    failure: BackendFailed | None = None  # why it couldn't be loaded
    asked_s: float | None = None
    tickets: list[Ticket] = field(default_factory=list)
    changed: Callable[[], None] = lambda: None
    is_open: Callable[[], bool] = lambda: False

    @contextlib.asynccontextmanager
    async def acquire(self, timeout_s: float) -> AsyncIterator[Backend]:
        """Holds the model for one request. Raises NotReady when it takes too long, BackendFailed when it can't be."""
        if self.is_open():
            let_go = self.use()
            try:
                yield self.backend
            finally:
                let_go()
            return
        ticket = Ticket(time.monotonic())
        self.tickets.append(ticket)
        self.changed()
        try:
            await asyncio.wait([ticket.granted], timeout=timeout_s)
            if not ticket.granted.done():
                ready_in_s = self.backend.ready_in_s or _RETRY_AFTER_S
                raise NotReady(f"model '{self.name}' is not ready: {self.backend.phase}", retry_after_s=ready_in_s)
            yield ticket.granted.result()
        finally:
            self._leave(ticket)

    def _leave(self, ticket: Ticket) -> None:
        if ticket in self.tickets:
            self.tickets.remove(ticket)
        elif ticket.granted.exception() is None:
            self._let_go()
        self.changed()

    def use(self) -> Callable[[], None]:
        """For who has it already: it stays in use until what is returned is called, though the request be gone."""
        self.num_running += 1
        return self._let_go

    def _let_go(self) -> None:
        self.num_running -= 1
        self.idle_since = time.monotonic()
        if not self.num_running:
            self.changed()

    def let_in(self) -> None:
        """Everyone who waits."""
        if self.backend.state is BackendState.FAILED:
            return self.refuse(BackendFailed(f"model '{self.name}' has failed: {self.backend.phase}"))
        while self.tickets:
            self.num_running += 1  # here and not by the waiter, or it might be unloaded in between
            self.tickets.pop(0).granted.set_result(self.backend)
        return None

    def refuse(self, error: DragomanError) -> None:
        """Everyone who waits."""
        while self.tickets:
            self.tickets.pop(0).granted.set_exception(error)

    def become(self, backend: Backend) -> None:
        """What was known of the one before doesn't hold for this one."""
        self.backend = backend
        self.failure = self.asked_s = None

    @property
    def hold_s(self) -> float:
        """How long it stays when it is idle."""
        if self.is_pinned:
            return math.inf
        if self.asked_s is not None:
            return self.asked_s
        return math.inf if self.unload_after_s is None else self.unload_after_s

    @property
    def unload_at(self) -> float | None:
        """When it goes if nobody comes; None while it is in use or stays for good."""
        return None if self.num_running or math.isinf(self.hold_s) else self.idle_since + self.hold_s

    @property
    def is_idle_too_long(self) -> bool:
        return self.unload_at is not None and time.monotonic() >= self.unload_at
