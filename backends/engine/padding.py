"""What a prefill of so many tokens really evaluates, on a device that has programs for certain lengths only. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Padding:
    """smallest, then second, then every doubling of it: the lengths that there are. smallest 0: any length."""

    smallest: int = 0
    second: int = 0

    def padded(self, num_tokens: int) -> int:
        """The length that num_tokens tokens are filled up to."""
        if not self.smallest:
            return num_tokens
        length = self.smallest if num_tokens <= self.smallest else self.second
        while length < num_tokens:
            length *= 2
        return length

    def fitting(self, num_pending: int, room: int, block_size: int) -> int:
        """How many of the pending tokens to evaluate so that no more than `room` are, padding included: all of them,
        or whole blocks, or none."""
        if self.padded(num_pending) <= room:
            return num_pending
        if not self.smallest:
            return room - room % block_size
        length = self.smallest
        while (longer := self.padded(length + 1)) <= room:
            length = longer
        return min(num_pending, length - length % block_size) if length <= room else 0
