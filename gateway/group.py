"""Models that share a device: at most one of them is loaded, and one task owns all their lives.

A model with a device to itself is a group of one. Requests take a ticket and are let in by the task, which alone
loads and unloads; whose turn it is `turns.py` decides.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import structlog

from backends.base import Backend, BackendState
from backends.errors import BackendFailed, NotReady
from gateway.turns import Drain, Serve, Swap, next_turn

log = structlog.get_logger()


@dataclass(slots=True, eq=False)
class Resident:
    """A model and how it is used. unload_after_s: idle seconds after which it is unloaded; None: never. asked_s: the
    same as a client asked for it, in force until it is unloaded."""

    name: str
    backend: Backend
    unload_after_s: float | None = None
    num_running: int = 0
    idle_since: float = 0.0
    failure: BackendFailed | None = None
    asked_s: float | None = None

    @property
    def hold_s(self) -> float:
        """How long it stays when it is idle."""
        if self.asked_s is not None:
            return self.asked_s
        return math.inf if self.unload_after_s is None else self.unload_after_s

    @property
    def unload_at(self) -> float | None:
        """When it goes if nobody comes; None while it is in use or pinned."""
        return None if self.num_running or math.isinf(self.hold_s) else self.idle_since + self.hold_s

    @property
    def is_idle_too_long(self) -> bool:
        return self.unload_at is not None and time.monotonic() >= self.unload_at


@dataclass(slots=True, eq=False)
class _Ticket:
    resident: Resident
    since: float
    granted: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Group:
    """patience_s: how long requests for another member wait before the loaded one gives way."""

    def __init__(self, members: Sequence[Resident], *, patience_s: float, load_timeout_s: float) -> None:
        self.members = list(members)
        self.loaded: Resident | None = None
        self._patience_s = patience_s
        self._load_timeout_s = load_timeout_s
        self._tickets: list[_Ticket] = []
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self, first: Resident | None) -> None:
        """first: loaded at once; the others when somebody asks for them."""
        self._task = asyncio.create_task(self._run(first), name=f"group of {self.members[0].name}")

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        while self._tickets:
            self._tickets.pop().granted.set_exception(NotReady("the gateway is stopping"))
        await asyncio.gather(*(member.backend.stop() for member in self.members))

    @contextlib.asynccontextmanager
    async def acquire(self, resident: Resident) -> AsyncIterator[Backend]:
        """Holds the model for one request. Raises NotReady when it takes too long, BackendFailed when it can't be."""
        ticket = _Ticket(resident, time.monotonic())
        self._tickets.append(ticket)
        self._changed.set()
        try:
            await asyncio.wait([ticket.granted], timeout=self._load_timeout_s)
            if not ticket.granted.done():
                phase = resident.backend.phase
                raise NotReady(f"model '{resident.name}' is not ready: {phase}", retry_after_s=5)
            ticket.granted.result()
            yield resident.backend
        finally:
            self._leave(ticket)

    def _leave(self, ticket: _Ticket) -> None:
        if ticket in self._tickets:
            self._tickets.remove(ticket)
        elif ticket.granted.exception() is None:
            ticket.resident.num_running -= 1
            ticket.resident.idle_since = time.monotonic()
        self._changed.set()

    def keep_alive(self, resident: Resident, seconds: float) -> None:
        """How long it stays from now on when it is idle, until it is unloaded."""
        resident.asked_s = seconds
        self._changed.set()

    async def _run(self, first: Resident | None) -> None:
        if first:
            await self._load(first)
        while True:
            self._changed.clear()
            match self._turn():
                case Swap(name):
                    await self._swap(next(member for member in self.members if member.name == name))
                    self._let_in()  # before anything else is weighed, or two impatient models would swap for ever
                    continue
                case Serve():
                    self._let_in()
                case Drain():
                    pass
            if self.loaded and self.loaded.is_idle_too_long:
                await self._unload()
            await self._sleep()

    def _turn(self) -> Serve | Drain | Swap:
        waiting_since: dict[str, float] = {}
        for ticket in self._tickets:
            waiting_since.setdefault(ticket.resident.name, ticket.since)
        name, num_running = (self.loaded.name, self.loaded.num_running) if self.loaded else (None, 0)
        return next_turn(name, num_running, waiting_since, time.monotonic(), self._patience_s)

    def _let_in(self) -> None:
        for ticket in [ticket for ticket in self._tickets if ticket.resident is self.loaded]:
            self._tickets.remove(ticket)
            if ticket.resident.backend.state is BackendState.FAILED:
                cause = ticket.resident.backend.phase
                ticket.granted.set_exception(BackendFailed(f"model '{ticket.resident.name}' has failed: {cause}"))
            else:
                ticket.resident.num_running += 1  # here and not by the waiter, or it might be unloaded in between
                ticket.granted.set_result(None)

    async def _sleep(self) -> None:
        """Until something changes, somebody's patience ends or the loaded model has been idle for long enough."""
        now = time.monotonic()
        ends = (ticket.since + self._patience_s for ticket in self._tickets)
        moments = [end for end in ends if end > now]  # patience that has ended already changes nothing by itself
        if self.loaded and self.loaded.unload_at is not None:
            moments.append(self.loaded.unload_at)
        timeout_s = min((moment - now for moment in moments), default=None)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._changed.wait(), timeout_s)

    async def _swap(self, resident: Resident) -> None:
        await self._unload()
        await self._load(resident)

    async def _unload(self) -> None:
        if self.loaded:
            leaving, self.loaded = self.loaded, None
            leaving.asked_s = None
            await leaving.backend.stop()
            log.info("model unloaded", model=leaving.name)

    async def _load(self, resident: Resident) -> None:
        """A model that failed to load isn't tried again: its cause is told to everyone who asks."""
        started = time.monotonic()
        try:
            if resident.failure:
                raise resident.failure
            await resident.backend.start()
        except BackendFailed as error:
            self._give_up(resident, error)
            return
        self.loaded = resident
        resident.idle_since = time.monotonic()
        log.info("model ready", model=resident.name, seconds=round(time.monotonic() - started, 3))

    def _give_up(self, resident: Resident, error: BackendFailed) -> None:
        if not resident.failure:
            log.error("model failed to load", model=resident.name, cause=error.message)
        resident.failure = error
        for ticket in [ticket for ticket in self._tickets if ticket.resident is resident]:
            self._tickets.remove(ticket)
            ticket.granted.set_exception(BackendFailed(f"model '{resident.name}' failed to load: {error.message}"))
