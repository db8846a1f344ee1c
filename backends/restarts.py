"""When a worker that died is started again: at once, then after growing pauses, and after too many deaths not at all.

Pure policy: told when it died.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field


@dataclass(slots=True)
class Restarts:
    """max_deaths: so many within `within_s` open the breaker. The first pause is first_s, each further one is twice
    as long, up to longest_s."""

    max_deaths: int = 5
    within_s: float = 600.0
    first_s: float = 0.5
    longest_s: float = 30.0
    _deaths: deque[float] = field(default_factory=deque)

    def died(self, at: float) -> float | None:
        """Seconds until the next start; None: the breaker is open."""
        self._deaths.append(at)
        while at - self._deaths[0] > self.within_s:
            self._deaths.popleft()
        if len(self._deaths) >= self.max_deaths:
            return None
        return float(min(self.longest_s, self.first_s * 2 ** (len(self._deaths) - 1)))
