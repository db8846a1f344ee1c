"""What a prompt becomes as an embedding: the mean over its tokens of the last hidden states."""

from __future__ import annotations

import numpy as np

from backends.engine.runner import Floats


class MeanPooling:
    """Gathered chunk by chunk, in float64: so that how a prompt was cut shows in no more than a last bit."""

    def __init__(self) -> None:
        self._sum = np.zeros(0)
        self._num_tokens = 0

    def add(self, start: int, hidden_states: Floats) -> None:
        """hidden_states [n, hidden_size]: of the prompt's tokens from `start` on. A prompt that lost its blocks is
        evaluated once more, from its beginning."""
        if start == 0:
            self._sum = np.zeros(hidden_states.shape[1])
        self._sum += hidden_states.sum(axis=0, dtype=np.float64)
        self._num_tokens = start + len(hidden_states)

    @property
    def vector(self) -> Floats:
        """[hidden_size]"""
        return (self._sum / self._num_tokens).astype(np.float32)
