"""The next token of each sequence of a step, out of the step's logits.

The logits are edited where a sequence asks for it (`logit_edits`). Then sequences with the same samplers are handled
together, one after another: cut to candidates, truncate, choose. What a sequence gets depends on its own logits and its
own SamplerRow alone, never on the batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from typing_extensions import assert_never

from backends.engine import temperature
from backends.engine.candidates import NO_TOKEN, Candidates, Mask, choose_from_all, relative, top, weights
from backends.engine.chain import survivors
from backends.engine.logit_edits import LogitEdits
from backends.engine.resolved_sampling import Plan
from backends.engine.runner import Floats, Ints
from backends.engine.sampler_group import SamplerGroup
from backends.engine.sampler_row import SamplerRow

UNTRUNCATED: tuple[Plan, ...] = (), ("temperature",)


class Sampler:
    """Remembers how the sequences of the last step are handled, and nothing else."""

    def __init__(self) -> None:
        self._rows: Sequence[SamplerRow] = ()
        self._edits = LogitEdits((), 0)
        self._groups: list[SamplerGroup] = []

    def sample(self, logits: Floats, rows: Sequence[SamplerRow], masks: Sequence[Mask | None]) -> Ints:
        """Tokens [B] for logits [B, V]; NO_TOKEN where none has a finite logit.

        masks: True where a token may come, [V]. A mask wins over bans that leave nothing of it. The logits are used up:
        to copy them would cost more than all else that is done to them. What a row would give next isn't changed; that
        takes row.accept.
        """
        if rows != self._rows:
            self._rows, self._groups = rows, SamplerGroup.split(rows)
            self._edits = LogitEdits(rows, logits.shape[1])
        with np.errstate(all="ignore"):  # infinities stand for bans here
            edited = np.require(logits, requirements=("C", "W"))
            self._edits.apply(edited, masks)
            if len(self._groups) == 1:
                return _choose(edited, self._groups[0])
            tokens = np.empty(len(rows), np.int32)
            for group in self._groups:
                tokens[group.members] = _choose(edited[group.members], group)
        return tokens


def distribution(logits: Floats, row: SamplerRow, mask: Mask | None) -> tuple[Ints, Floats]:
    """What sample chooses from, for one sequence's logits [V]: tokens [n] and their probabilities [n], likeliest first.

    These are llama.cpp's post_sampling_probs; `logprobs` has those of the model itself.
    """
    with np.errstate(all="ignore"):
        edited = np.array(logits[None])
        LogitEdits([row], len(logits)).apply(edited, [mask])
        candidates = _all_candidates(edited, SamplerGroup([row], [0]))
        weight = weights(candidates.logits)[0]
    is_in = weight > 0
    return candidates.tokens[0, is_in], weight[is_in] / weight.sum(dtype=np.float32)


def _all_candidates(logits: Floats, group: SamplerGroup) -> Candidates:
    """logits: [1, V]."""
    (row,) = group.rows
    if row.method == "greedy":
        best = top(logits, 1)
        return Candidates(best.tokens[:, :1], best.logits[:, :1])
    if row.mirostat is not None:
        return row.mirostat.truncate(_scaled(logits, group))
    return survivors(logits, group)


def _choose(logits: Floats, group: SamplerGroup) -> Ints:
    match group.method:
        case "greedy":
            return _likeliest(logits)
        case "mirostat":
            return _choose_by_mirostat(logits, group)
        case "chain":
            return _choose_by_chain(logits, group)
        case _:
            assert_never(group.method)


def _likeliest(logits: Floats) -> Ints:
    best = logits.argmax(axis=1)
    is_finite = np.isfinite(logits[np.arange(len(best)), best])
    return np.where(is_finite, best, NO_TOKEN).astype(np.int32)


def _choose_by_mirostat(logits: Floats, group: SamplerGroup) -> Ints:
    scaled = _scaled(logits, group)
    uniforms = group.uniforms()
    states = [(index, row.mirostat) for index, row in enumerate(group.rows) if row.mirostat is not None]
    return np.array([state.choose(scaled[i : i + 1], uniforms[i : i + 1]) for i, state in states], np.int32)


def _choose_by_chain(logits: Floats, group: SamplerGroup) -> Ints:
    if group.plan in UNTRUNCATED:
        return choose_from_all(logits, group.column("temperature") if group.plan else None, group.uniforms())
    return survivors(logits, group).choose(group.uniforms())


def _scaled(logits: Floats, group: SamplerGroup) -> Floats:
    return temperature.scale(relative(logits), group.column("temperature"))
