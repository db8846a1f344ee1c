"""How long each phase of a load took the last time, and what therefore remains of this one.

Kept in a file, since a load is mostly a process's first act.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import structlog
from pydantic import TypeAdapter

log = structlog.get_logger()

_SECONDS = TypeAdapter(dict[str, float])


class LoadTimes:
    """file: JSON, the seconds of each phase of the last load that ended well; None: they are kept nowhere."""

    def __init__(self, file: Path | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._file = file
        self._clock = clock
        self._last = _read(file)
        self._began_at = clock()
        self._phases: list[tuple[str, float]] = []  # of this load, and when each began

    def begin(self) -> None:
        self._began_at = self._clock()
        self._phases = []

    def enter(self, phase: str) -> None:
        """From any thread. The phase before has ended."""
        self._phases.append((phase, self._clock()))

    def end(self) -> None:
        """It went well: what it took is what the next one is expected to take."""
        ends = [began_at for _, began_at in self._phases[1:]] + [self._clock()]
        self._last = {
            phase: round(end - began_at, 3) for (phase, began_at), end in zip(self._phases, ends, strict=True)
        }
        _write(self._file, self._last)

    @property
    def since_s(self) -> float:
        """Since it began."""
        return self._clock() - self._began_at

    @property
    def total_s(self) -> float | None:
        """All of the last load; None: there was none."""
        return sum(self._last.values()) if self._last else None

    @property
    def remaining_s(self) -> float | None:
        """As far as the last load tells; None: there was none, it went otherwise, or it was done by now."""
        if not self._phases:
            return self.total_s
        phase, began_at = self._phases[-1]
        if phase not in self._last:
            return None
        order = list(self._last)
        to_come = order[order.index(phase) + 1 :]
        here_s = max(0.0, self._last[phase] - (self._clock() - began_at))
        return here_s + sum(self._last[each] for each in to_come) or None

    def __str__(self) -> str:
        since = f"{self.since_s:.0f} s since the start"
        if (remaining_s := self.remaining_s) is not None:
            return f"{since}, about {remaining_s:.0f} s to go"
        if self._last:
            return f"{since}, the last time it took {self.total_s:.0f} s"
        return f"{since}, and nothing tells yet how long it takes"


def _read(file: Path | None) -> dict[str, float]:
    with contextlib.suppress(OSError, ValueError):  # there is none, or not one of ours
        return _SECONDS.validate_json(file.read_bytes()) if file else {}
    return {}


def _write(file: Path | None, seconds: dict[str, float]) -> None:
    if file is None:
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(_SECONDS.dump_json(seconds, indent=1))
    except OSError as error:
        log.warning("what the load took can't be kept", file=str(file), cause=error.strerror)
