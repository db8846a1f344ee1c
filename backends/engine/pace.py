"""How long to leave a device alone before waiting for it: some of its libraries wait with the interpreter's lock held,
and nobody else runs meanwhile.

Pure: told durations, reads no clock.
"""

from __future__ import annotations

_SAFE_SHARE = 0.9
"""Of the time that it took last. It never makes the device wait, and follows it when it gets faster."""


class Pace:
    def __init__(self) -> None:
        self._last_s = 0.0

    def rest_s(self, elapsed_s: float) -> float:
        """Seconds in which a step that began so long ago won't be done."""
        return max(0.0, _SAFE_SHARE * self._last_s - elapsed_s)

    def note(self, took_s: float) -> None:
        """From the launch to the end of reading."""
        self._last_s = took_s
