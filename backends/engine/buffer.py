"""Memory that is used again and again, because asking the system for fresh pages costs more than filling them."""

from __future__ import annotations

import math

import numpy as np

from backends.engine.runner import Floats


class Buffer:
    """Rows of float32, as many as were ever needed at once. What they hold is from an earlier use, and finite."""

    def __init__(self, *row_shape: int) -> None:
        self._memory: Floats = np.zeros((0, *row_shape), np.float32)

    def rows(self, num_rows: int) -> Floats:
        if num_rows > len(self._memory):
            self._memory = np.zeros((num_rows, *self._memory.shape[1:]), np.float32)
        return self._memory[:num_rows]

    def shaped(self, *shape: int) -> Floats:
        """Of a buffer of single numbers: an array of any shape."""
        return self.rows(math.prod(shape)).reshape(shape)
