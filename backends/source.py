"""Where an answer may be had: what a worker of our own and a set of attached servers have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from backends.base import BackendState
from backends.errors import BackendFailed
from backends.upstream import Upstream
from backends.upstream_errors import WorkerLost
from backends.upstream_facts import Facts


class Source(Protocol):
    """facts: None before a server has answered. log: a worker's last lines."""

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

    async def lease(self) -> Upstream:
        """A server that is ready, waited for while one is being restarted. Raises NotReady or BackendFailed."""
        ...

    async def explain(self, upstream: Upstream, error: WorkerLost) -> BackendFailed:
        """An answer was lost: takes note, and says what is known of the cause."""
        ...
