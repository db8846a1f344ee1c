"""A deadline that moves: one timer for a whole stream. A time-out for each read would cost as much as the read."""

from __future__ import annotations

import asyncio
import sys
from types import TracebackType

from backends.upstream_errors import WorkerLost


class Alarm:
    """`with Alarm(seconds, words):` around what is awaited. When it rings, the task that entered the block, or that set
    the alarm last, is interrupted there and the block raises WorkerLost(words)."""

    def __init__(self, seconds: float, words: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._words = words
        self._at = self._loop.time() + seconds
        self._has_rung = False
        self._task: asyncio.Task[object] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def ring_after(self, seconds: float, words: str | None = None) -> None:
        """From now on. The timer itself is moved only when it fires, or when it would fire too late."""
        self._task = asyncio.current_task()
        self._at = self._loop.time() + seconds
        self._words = words or self._words
        if self._timer is None or self._timer.when() > self._at:
            self._wind()

    def rest(self) -> None:
        """Until it is set again. In a generator that yields: whoever reads it may wait for something else meanwhile,
        and may be another task the next time."""
        self._task = None

    def __enter__(self) -> Alarm:
        self._task = asyncio.current_task()
        self._wind()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _tb: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._has_rung and isinstance(error, asyncio.CancelledError):
            if sys.version_info >= (3, 11) and self._task is not None:
                self._task.uncancel()
            raise WorkerLost(self._words) from None

    def _wind(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._at, self._fire)

    def _fire(self) -> None:
        self._timer = None
        if self._loop.time() < self._at:
            self._wind()
        elif self._task is not None:
            self._has_rung = True
            self._task.cancel()
