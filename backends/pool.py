"""Servers that run elsewhere and have the same model: who gets the next request, and who is left out for now.

The one with the fewest answers under way goes first. One that lost an answer or doesn't answer a probe is left out
until it answers one again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from backends.base import BackendState
from backends.errors import BackendFailed, DragomanError, NotReady, Unauthorized, UnknownModel
from backends.facts import Facts, common
from backends.source import Lease
from backends.upstream import Upstream
from backends.upstream_errors import WorkerLost

log = structlog.get_logger()


class Probe(Protocol):
    async def __call__(self, upstream: Upstream, /, *, key: str | None = None, known: Facts | None = None) -> Facts:
        """As backends.upstream_facts.read_facts. Raises DragomanError when it isn't well."""
        ...


class Pool:
    """A backends.source.Source. connect: makes the connections, at each start. probe: asks a server what it is.
    every_s: between two probes of each."""

    def __init__(
        self,
        connect: Callable[[], Sequence[Upstream]],
        probe: Probe,
        *,
        every_s: float,
    ) -> None:
        self.log: Sequence[str] = ()
        self._connect = connect
        self._probe = probe
        self._every_s = every_s
        self._members: Sequence[Upstream] = ()
        self._sick: dict[Upstream, str] = {}  # and why
        self._facts: dict[str, Facts] = {}  # by URL, as it was last told
        self._probing: asyncio.Task[None] | None = None

    @property
    def state(self) -> BackendState:
        """Ready even when nobody answers now: the next request may find one."""
        if not self._members:
            return BackendState.STOPPED
        return BackendState.STARTING if self._probing is None else BackendState.READY

    @property
    def phase(self) -> str:
        if not self._members:
            return "stopped"
        if self._probing is None:
            return "asking the servers what they are"
        if len(self._sick) < len(self._members):
            return "ready"
        return next(iter(self._sick.values()))

    @property
    def facts(self) -> Facts | None:
        return common(list(self._facts.values()))

    async def start(self) -> None:
        if not self._members:
            self._facts.clear()
            self._members = self._connect()
            await self._probe_all(self._members)
            self._probing = asyncio.create_task(self._keep_probing(), name="probing")

    async def stop(self) -> None:
        probing, self._probing = self._probing, None
        members, self._members = self._members, ()
        if probing is not None:
            probing.cancel()
            await asyncio.gather(probing, return_exceptions=True)
        await asyncio.gather(*(member.close() for member in members))
        self._sick.clear()

    async def lease(self, *, key: str | None = None, adapter: str | None = None) -> Lease:
        if not self._members:
            raise NotReady("the connections are closed")
        if len(self._sick) == len(self._members):
            await self._probe_all(self._members)
        well = [member for member in self._members if member not in self._sick]
        if not well:
            raise NotReady(f"no server answers: {self.phase}", retry_after_s=self._every_s)
        if adapter is not None:
            well = [member for member in well if adapter in self._adapters(member)]
            if not well:
                raise UnknownModel(adapter)
        member = min(well, key=lambda member: member.num_running)
        return Lease(member, self._facts.get(member.url) or await self._introduced(member, key))

    def _adapters(self, member: Upstream) -> Sequence[str]:
        facts = self._facts.get(member.url)
        return facts.adapters if facts else ()

    async def _introduced(self, member: Upstream, key: str | None) -> Facts:
        """What a server is that tells it to clients with a key alone, by the key of one that asks just now."""
        try:
            facts = self._facts[member.url] = await self._probe(member, key=key)
        except WorkerLost as error:
            raise await self.explain(member, error) from None
        return facts

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
        """What was known of one that was sick may not hold any more."""
        known = None if member in self._sick else self._facts.get(member.url)
        try:
            self._facts[member.url] = await self._probe(member, known=known)
        except DragomanError as error:
            if not (member.passes_keys and isinstance(error, Unauthorized)):
                self._note(member, error.message)
                return
        if self._sick.pop(member, None) is not None:
            log.info("server answers again", url=member.url)

    def _note(self, member: Upstream, reason: str) -> None:
        if member in self._members and member not in self._sick:
            log.warning("server left out", url=member.url, reason=reason)
        if member in self._members:
            self._sick[member] = reason
