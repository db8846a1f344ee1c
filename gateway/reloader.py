"""When the config is read again: at SIGHUP, when its file was saved, and when the operator asks. One at a time.

Owns the file; what a new config means is the gateway's affair.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import structlog

from gateway.changes import Changes
from gateway.config import Config, load
from gateway.document import ConfigError

log = structlog.get_logger()

T = TypeVar("T")

_LOOK_S = 0.5  # between two looks at the file


class Reloader:
    """follow: makes the gateway do as the config says. watches: whether saving the file is enough."""

    def __init__(self, path: Path, follow: Callable[[Config], Awaitable[Changes]], *, watches: bool) -> None:
        self._path = path
        self._follow = follow
        self._watches = watches
        self._seen = _stamp(path)
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[object]] = set()

    def start(self) -> None:
        self._spawn(self._watch())

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def reload(self) -> Changes:
        """Returns once nothing of the old config is left. Who asked may go: it is done all the same.

        Raises ConfigError, and then nothing has changed.
        """
        return await asyncio.shield(self._spawn(self._reload()))

    def trigger(self) -> None:
        """A reload that nobody waits for: the log tells how it went."""
        self._spawn(self._try_reload())

    async def _reload(self) -> Changes:
        async with self._turn:
            self._seen = _stamp(self._path)
            try:
                config = load(self._path)
            except ConfigError as error:
                log.error("the config has a mistake, and nothing is changed", cause=str(error))
                raise
            self._watches = config.reload.watch
            changes = await self._follow(config)
            log.info("the config is in force", **dataclasses.asdict(changes))
            return changes

    async def _try_reload(self) -> None:
        try:
            await self._reload()
        except ConfigError:
            pass  # it is in the log
        except Exception:
            log.exception("bug")

    async def _watch(self) -> None:
        """A file that is being written is read once it has come to rest."""
        before = self._seen
        while True:
            await asyncio.sleep(_LOOK_S)
            now = _stamp(self._path)
            if self._watches and now == before and now not in (None, self._seen):
                await self._try_reload()
            before = now

    def _spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """Changes when the file does. None: it isn't there, as for a moment while an editor puts another in its place."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size
