"""Log-probabilities of the model's own distribution: natural logarithm, before bias, penalties, temperature and masks.

This is what OpenAI, vLLM (logprobs_mode raw_logprobs) and llama.cpp (without post_sampling_probs) report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from backends.engine.candidates import top
from backends.engine.runner import Floats, Ints


@dataclass(frozen=True, slots=True)
class Logprobs:
    """Of one place: the chosen token's, and the k likeliest tokens [k] with theirs [k], likeliest first."""

    chosen: float
    top_tokens: Ints
    top: Floats


def logprobs(logits: Floats, chosen: Ints, num_top: Sequence[int]) -> list[Logprobs]:
    """For each row of raw logits [n, V], its chosen token [n] and the number of likeliest tokens wanted [n].

    Fewer come where fewer have a finite logit.
    """
    most = max(1, *num_top)
    with np.errstate(invalid="ignore"):  # a row may hold no number at all
        highest = logits.max(axis=1, keepdims=True)
        log_total = highest + np.log(np.exp(logits - highest).sum(axis=1, keepdims=True))
        own = logits[np.arange(len(logits)), chosen] - log_total[:, 0]
        likeliest = top(logits, most)
        values = likeliest.logits + (highest - log_total)
    num_finite = np.isfinite(likeliest.logits).sum(axis=1).tolist()
    return [
        Logprobs(float(own[row]), likeliest.tokens[row, :count], values[row, :count])
        for row, count in enumerate(map(min, num_top, num_finite))
    ]
