"""Servers that run elsewhere and have the same model: who gets the next request, and who is left out for now.

The one with the fewest answers under way goes first. One that lost an answer or doesn't answer a probe is left out
until it answers one again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from backends.base import BackendState
from backends.errors import BackendFailed, DragomanError, NotReady
from backends.upstream import Upstream
from backends.upstream_errors import WorkerLost
from backends.upstream_facts import Facts

log = structlog.get_logger()


class Pool:
    """A backends.source.Source. connect: makes the connections, at each start. probe: asks a server what it is; raises
    DragomanError when it isn't well. every_s: between two probes of each."""

    def __init__(
        self,
        connect: Callable[[], Sequence[Upstream]],
        probe: Callable[[Upstream], Awaitable[Facts]],
        *,
        every_s: float,
    ) -> None:
        self.log: Sequence[str] = ()
        self._connect = connect
        self._probe = probe
        self._every_s = every_s
        self._members: Sequence[Upstream] = ()
        self._sick: dict[Upstream, str] = {}  # and why
        self._facts: Facts | None = None
        self._probing: asyncio.Task[None] | None = None

    @property
    def state(self) -> BackendState:
        """Ready even when nobody answers now: the next request may find one."""
        return BackendState.READY if self._members else BackendState.STOPPED

    @property
    def phase(self) -> str:
        if not self._members:
            return "stopped"
        if len(self._sick) < len(self._members):
            return "ready"
        return next(iter(self._sick.values()))

    @property
    def facts(self) -> Facts | None:
        return self._facts

    async def start(self) -> None:
        if not self._members:
            self._members = self._connect()
            await self._probe_all(self._members)
            self._probing = asyncio.create_task(self._keep_probing(), name="probing")

    async def stop(self) -> None:
        probing, self._probing = self._probing, None
        if probing is not None:
            probing.cancel()
            await asyncio.gather(probing, return_exceptions=True)
        members, self._members = self._members, ()
        await asyncio.gather(*(member.close() for member in members))
        self._sick.clear()

    async def lease(self) -> Upstream:
        if not self._members:
            raise NotReady("the connections are closed")
        if len(self._sick) == len(self._members):
            await self._probe_all(self._members)
        well = [member for member in self._members if member not in self._sick]
        if not well:
            raise NotReady(f"no server answers: {self.phase}", retry_after_s=self._every_s)
        return min(well, key=lambda member: member.num_running)

    async def explain(self, upstream: Upstream, error: WorkerLost) -> BackendFailed:
        self._note(upstream, error.message)
        return error

    async def _keep_probing(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            await self._probe_all(self._members)

    async def _probe_all(self, members: Sequence[Upstream]) -> None:
        await asyncio.gather(*map(self._probe_one, members))

    async def _probe_one(self, member: Upstream) -> None:
        try:
            facts = await self._probe(member)
        except DragomanError as error:
            self._note(member, error.message)
            return
        member.model = facts.model
        self._facts = facts
        if self._sick.pop(member, None) is not None:
            log.info("server answers again", url=member.url)

    def _note(self, member: Upstream, reason: str) -> None:
        if member in self._members and member not in self._sick:
            log.warning("server left out", url=member.url, reason=reason)
        if member in self._members:
            self._sick[member] = reason
