"""Mirostat: keeps the surprise of what is generated near a target, by truncating more or less (arXiv:2007.14966).

Both versions as in llama.cpp's src/llama-sampling.cpp. Surprise is in bits.
"""

from __future__ import annotations

import math

import numpy as np

from backends.engine.candidates import NO_TOKEN, Candidates, Doubles, cut, top, weights
from backends.engine.runner import Floats
from backends.request import Mirostat

NUM_FOR_ESTIMATE = 100
"""Version 1 estimates Zipf's exponent from so many of the likeliest tokens."""

LEAST_EXPONENT = 1e-6
"""In place of 0, the estimate where all tokens are equally likely."""


class MirostatState:
    """One sequence's. mu: how surprising a token may be, in bits; it moves with what is accepted."""

    def __init__(self, settings: Mirostat) -> None:
        self.mu = 2.0 * settings.tau
        self._settings = settings
        self._chosen = NO_TOKEN
        self._surprise = 0.0

    def choose(self, logits: Floats, uniform: Doubles) -> int:
        """A token of logits [1, V], which the temperature has scaled. Moves nothing."""
        candidates = self.truncate(logits)
        self._chosen = int(candidates.choose(uniform)[0])
        if self._chosen != NO_TOKEN:
            weight = weights(candidates.logits)[0]
            share = weight[candidates.tokens[0] == self._chosen].max() / weight.sum()
            self._surprise = -math.log2(float(share))
        return self._chosen

    def accept(self, token_id: int) -> None:
        """A token that was not chosen here (forced by someone else) surprises nobody."""
        if token_id == self._chosen:
            self.mu -= self._settings.eta * (self._surprise - self._settings.tau)
        self._chosen = NO_TOKEN

    def truncate(self, logits: Floats) -> Candidates:
        return _top(logits, self._rank_limit(logits)) if self._settings.version == 1 else self._unsurprising(logits)

    def _unsurprising(self, logits: Floats) -> Candidates:
        """Those whose surprise is at most mu, or the likeliest alone."""
        highest = logits.max(axis=1, keepdims=True)
        log_total = highest + np.log(weights(logits - highest).sum(axis=1, keepdims=True))
        floor = log_total - np.float32(self.mu * math.log(2))
        return cut(logits, np.minimum(floor, highest), highest)

    def _rank_limit(self, logits: Floats) -> int:
        """How many of the likeliest tokens have, under Zipf's law, a cross-entropy of mu bits."""
        vocab_size = logits.shape[1]
        likeliest = _top(logits, NUM_FOR_ESTIMATE).logits[0]
        falls = -np.diff(likeliest[np.isfinite(likeliest)])
        if not len(falls):
            return 1
        ranks = np.arange(1, len(falls) + 1)
        steps = np.log((ranks + 1) / ranks)
        exponent = float((steps * falls).sum() / (steps * steps).sum())
        excess = exponent - 1.0
        # (1 - N^-excess) / excess tends to log N where Zipf's exponent is 1
        norm = (1.0 - vocab_size**-excess) / excess if abs(excess) > LEAST_EXPONENT else math.log(vocab_size)
        log_limit = (self.mu * math.log(2) - math.log(norm)) / max(exponent, LEAST_EXPONENT)
        return max(1, int(math.exp(min(log_limit, math.log(vocab_size)))))


def _top(logits: Floats, count: int) -> Candidates:
    candidates = top(logits, count)
    return Candidates(candidates.tokens[:, :count], candidates.logits[:, :count])
