"""How long to leave a device alone before waiting for it: ttnn waits with the interpreter's lock held, and nobody else
runs meanwhile.

Pure: told durations, reads no clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence

_SAFE_SHARE = 0.9
"""Of the least that such work took lately: the device is never kept waiting, and is followed when it gets faster."""

_NUM_RECENT = 4  # so that one slow step isn't taken for the rule


class Pace:
    """Work is known by its kind, such as the length of a prefill."""

    def __init__(self) -> None:
        self._recent: dict[Hashable, deque[float]] = {}

    def rest_s(self, kinds: Sequence[Hashable]) -> float:
        """Seconds for which all of this, one after the other, won't be done; 0 where one of them isn't known."""
        if not all(kind in self._recent for kind in kinds):
            return 0.0
        return _SAFE_SHARE * sum(min(self._recent[kind]) for kind in kinds)

    def note(self, kinds: Sequence[Hashable], took_s: float) -> None:
        """From the launch to the end of reading. Of work of several kinds each is taken to have its share."""
        for kind in kinds:
            self._recent.setdefault(kind, deque(maxlen=_NUM_RECENT)).append(took_s / len(kinds))
