"""How many sequences may be in the engine at once, running or waiting. Pure: told durations, reads no clock."""

from __future__ import annotations

from backends.errors import Busy

SMOOTHING = 0.2
"""The weight of the newest request in the mean duration."""


class Capacity:
    def __init__(self, max_sequences: int) -> None:
        self.max_sequences = max_sequences
        self.num_taken = 0
        self._mean_s = 1.0

    def take(self, num_sequences: int) -> None:
        """Raises Busy when there is no room. A request that is too large for any queue has an empty one to itself."""
        if self.num_taken and self.num_taken + num_sequences > self.max_sequences:
            raise Busy(
                f"{self.num_taken} sequences are running or waiting, and at most {self.max_sequences} may",
                retry_after_s=self._time_until_free(num_sequences),
            )
        self.num_taken += num_sequences

    def give_back(self, num_sequences: int, held_s: float) -> None:
        self.num_taken -= num_sequences
        self._mean_s += SMOOTHING * (held_s - self._mean_s)

    def _time_until_free(self, num_sequences: int) -> float:
        """Little's law: of N places held for T seconds each, one becomes free every T / N seconds."""
        num_excess = self.num_taken + num_sequences - self.max_sequences
        return max(1.0, num_excess * self._mean_s / self.num_taken)
