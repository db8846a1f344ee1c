"""Models that share a device: at most one of them is loaded, and one task owns all their lives.

A model with a device to itself is a group of one. The task alone loads and unloads, and lets in who waits; whose turn
it is `turns.py` decides. Where nobody waits, and the model is there, a request needs no decision.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field

import structlog

from backends.base import BackendState
from backends.errors import BackendFailed, NotReady
from gateway.resident import Resident
from gateway.turns import Drain, Serve, Swap, next_turn

log = structlog.get_logger()


@dataclass(slots=True, eq=False)
class _Retirement:
    """by: when what still runs is cut off, on the monotonic clock. was_wanted: it was loaded, or just about to be."""

    by: float
    was_wanted: bool = False
    done: asyncio.Event = field(default_factory=asyncio.Event)


class Group:
    """patience_s: how long requests for another member wait before the loaded one gives way."""

    def __init__(self, *, patience_s: float) -> None:
        self.members: list[Resident] = []
        self.loaded: Resident | None = None
        self.patience_s = patience_s
        self._next: Resident | None = None  # to be loaded although nobody asks for it
        self._retiring: dict[Resident, _Retirement] = {}
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def add(self, resident: Resident, *, loads: bool = False) -> None:
        """loads: at once, if the device is free; else when somebody asks for it."""
        resident.changed = self._changed.set
        resident.is_open = lambda: self._is_open_to(resident)
        self.members.append(resident)
        if loads and self._next is None:
            self._next = resident
        self._changed.set()

    def start(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="group")

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for member in self.members:
            member.refuse(NotReady("the gateway is stopping"))
        await asyncio.gather(*(member.backend.stop() for member in self.members))

    async def retire(self, resident: Resident, within_s: float) -> bool:
        """Takes it out of the group, stopped: no request is let in any more, and those that it has may end in
        within_s. Returns whether it was loaded, or just about to be."""
        retirement = self._retiring[resident] = _Retirement(time.monotonic() + within_s)
        self._changed.set()
        await retirement.done.wait()
        return retirement.was_wanted

    def _is_open_to(self, resident: Resident) -> bool:
        is_there = resident is self.loaded and resident.backend.state is not BackendState.FAILED
        return is_there and not (self._retiring or any(member.tickets for member in self.members))

    # the task

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            await self._retire_who_may()
            await self._load_who_should()
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
        waiting_since = {
            member.name: member.tickets[0].since
            for member in self.members
            if member.tickets and member not in self._retiring
        }
        name, num_running = (self.loaded.name, self.loaded.num_running) if self.loaded else (None, 0)
        return next_turn(name, num_running, waiting_since, time.monotonic(), self.patience_s)

    def _let_in(self) -> None:
        if self.loaded and self.loaded not in self._retiring:
            self.loaded.let_in()

    async def _sleep(self) -> None:
        """Until something changes, somebody's patience or time ends, or the loaded model was idle for long enough."""
        now = time.monotonic()
        ends = [ticket.since + self.patience_s for member in self.members for ticket in member.tickets]
        ends += [retirement.by for retirement in self._retiring.values()]
        moments = [end for end in ends if end > now]  # what has ended already changes nothing by itself
        if self.loaded and self.loaded.unload_at is not None:
            moments.append(self.loaded.unload_at)
        timeout_s = min((moment - now for moment in moments), default=None)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._changed.wait(), timeout_s)

    async def _retire_who_may(self) -> None:
        for resident, retirement in list(self._retiring.items()):
            if not resident.num_running or time.monotonic() >= retirement.by:
                await self._retire(resident, retirement)

    async def _retire(self, resident: Resident, retirement: _Retirement) -> None:
        if resident is self.loaded:
            self.loaded, retirement.was_wanted = None, True
        await resident.backend.stop()  # who hasn't ended in time gets an error
        self.members.remove(resident)
        resident.changed, resident.is_open = lambda: None, lambda: False
        del self._retiring[resident]
        retirement.done.set()

    async def _load_who_should(self) -> None:
        resident, self._next = self._next, None
        if resident in self.members and self.loaded is None:
            await self._load(resident)

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
            if not await self._start(resident):
                return
        except BackendFailed as error:
            _give_up(resident, error)
            return
        self.loaded = resident
        resident.idle_since = time.monotonic()
        log.info("model ready", model=resident.name, seconds=round(time.monotonic() - started, 3))

    async def _start(self, resident: Resident) -> bool:
        """Returns whether it is ready: one that is to go needn't load to its end. Raises BackendFailed."""
        loading = asyncio.ensure_future(resident.backend.start())
        try:
            while not loading.done() and resident not in self._retiring:
                self._changed.clear()
                change = asyncio.ensure_future(self._changed.wait())
                await asyncio.wait({loading, change}, return_when=asyncio.FIRST_COMPLETED)
                change.cancel()
            if resident not in self._retiring:
                loading.result()
                return True
            self._retiring[resident].was_wanted = True
            return False
        finally:
            loading.cancel()
            await asyncio.gather(loading, return_exceptions=True)


def _give_up(resident: Resident, error: BackendFailed) -> None:
    if not resident.failure:
        log.error("model failed to load", model=resident.name, cause=error.message)
    resident.failure = error
    resident.refuse(BackendFailed(f"model '{resident.name}' failed to load: {error.message}"))
