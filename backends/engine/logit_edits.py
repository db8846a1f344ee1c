"""What changes the logits of a batch before anything is chosen: bias, penalties, DRY, bans of early ends, then masks.

Whose logits are concerned by what is worked out once: mostly the same sequences are sampled together for many steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from backends.engine.candidates import Mask
from backends.engine.penalties import Penalized, penalize
from backends.engine.runner import Floats
from backends.engine.sampler_row import SamplerRow

Places: TypeAlias = NDArray[np.intp]

NOWHERE: Places = np.zeros(0, np.intp)
NOTHING: Floats = np.zeros(0, np.float32)


class LogitEdits:
    """rows: the sequences of a batch, in order. vocab_size: how many logits each has."""

    def __init__(self, rows: Sequence[SamplerRow], vocab_size: int) -> None:
        self._vocab_size = vocab_size
        biases = [(place * vocab_size, row.bias) for place, row in enumerate(rows) if row.bias is not None]
        self._biased = np.concatenate([NOWHERE, *(first + bias.tokens for first, bias in biases)])
        self._amounts = np.concatenate([NOTHING, *(bias.amounts for _, bias in biases)])
        self._counted = [
            Penalized(place, row.counts, row.sampling) for place, row in enumerate(rows) if row.counts is not None
        ]
        self._dry = [(place, row.dry) for place, row in enumerate(rows) if row.dry is not None]
        self._note_early(enumerate(rows))

    def _note_early(self, rows: Iterable[tuple[int, SamplerRow]]) -> None:
        size = self._vocab_size
        self._early = [(place, row) for place, row in rows if not row.may_end]
        ends = [place * size + end_id for place, row in self._early for end_id in row.end_ids if end_id < size]
        self._banned: Places = np.array(ends, np.intp)

    def apply(self, logits: Floats, masks: Sequence[Mask | None]) -> None:
        """To logits [B, V], contiguous, in their own place."""
        masked = [(place, mask, logits[place].copy()) for place, mask in enumerate(masks) if mask is not None]
        flat = logits.reshape(-1)
        if len(self._biased):
            flat[self._biased] += self._amounts
        if self._counted:
            penalize(logits, self._counted)
        for place, dry in self._dry:
            repeating, amounts = dry.penalties()
            logits[place, repeating] -= amounts
        if any(row.may_end for _, row in self._early):  # it has come so far
            self._note_early(self._early)
        if self._early:
            flat[self._banned] = -np.inf
        for place, mask, unedited in masked:
            _apply_mask(logits[place], unedited, mask)


def _apply_mask(edited: Floats, unedited: Floats, mask: Mask) -> None:
    np.copyto(edited, -np.inf, where=~mask)
    if edited.max() == -np.inf:
        np.copyto(edited, unedited, where=mask)
