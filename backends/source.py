"""Where an answer may be had: what a worker of our own and a set of attached servers have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from backends.base import BackendState
from backends.errors import BackendFailed
from backends.facts import Facts
from backends.upstream import Upstream
from backends.upstream_errors import WorkerLost


@dataclass(frozen=True, slots=True)
class Lease:
    """A server that an answer may be had from, and what it said of itself."""

    upstream: Upstream
    facts: Facts


class Source(Protocol):
    """facts: what holds for all of its servers; None before one has answered. log: a worker's last lines."""

    @property
    def state(self) -> BackendState: ...

    @property
    def phase(self) -> str: ...

    @property
    def facts(self) -> Facts | None: ...

    @property
    def log(self) -> Sequence[str]: ...

    async def start(self) -> None:
        """Raises BackendFailed with the cause."""
        ...

    async def stop(self) -> None: ...

    async def lease(self, *, key: str | None = None, adapter: str | None = None) -> Lease:
        """A server that is ready, waited for while one is being restarted. key: the client's, for a server that tells
        what it is to those alone that bring one. adapter: a LoRA that it must have.

        Raises NotReady or BackendFailed, Unauthorized where the key won't do, UnknownModel where none has the adapter.
        """
        ...

    async def explain(self, upstream: Upstream, error: WorkerLost) -> BackendFailed:
        """An answer was lost: takes note, and says what is known of the cause."""
        ...
