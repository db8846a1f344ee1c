"""The next token of each sequence of a step, out of the step's logits.

Bans, bias, penalties, DRY and masks edit the logits of the sequences that have any. Then sequences with the same
samplers are handled together, one after another: cut to candidates, truncate, choose. What a sequence gets depends on
its own logits and its own SamplerRow alone, never on the batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from typing_extensions import assert_never

from backends.engine import temperature
from backends.engine.candidates import NO_TOKEN, Candidates, Mask, choose_from_all, relative, top, weights
from backends.engine.chain import survivors
from backends.engine.penalties import Penalized, penalize
from backends.engine.resolved_sampling import Plan
from backends.engine.runner import Floats, Ints
from backends.engine.sampler_group import SamplerGroup
from backends.engine.sampler_row import SamplerRow

UNTRUNCATED: tuple[Plan, ...] = (), ("temperature",)


class Sampler:
    """Remembers how the sequences of the last step were grouped, and nothing else."""

    def __init__(self) -> None:
        self._rows: Sequence[SamplerRow] = ()
        self._groups: list[SamplerGroup] = []

    def sample(self, logits: Floats, rows: Sequence[SamplerRow], masks: Sequence[Mask | None]) -> Ints:
        """Tokens [B] for logits [B, V]; NO_TOKEN where none has a finite logit.

        masks: True where a token may come, [V]. A mask wins over bans that leave nothing of it. The logits are used up:
        to copy them would cost more than all else that is done to them. What a row would give next isn't changed; that
        takes row.accept.
        """
        if rows != self._rows:
            self._rows, self._groups = rows, SamplerGroup.split(rows)
        with np.errstate(all="ignore"):  # infinities stand for bans here
            edited = _edit(np.require(logits, requirements=("C", "W")), rows, masks)
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
        edited = _edit(np.array(logits[None]), [row], [mask])
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


def _edit(logits: Floats, rows: Sequence[SamplerRow], masks: Sequence[Mask | None]) -> Floats:
    """The logits, in their own place, once bias, penalties, DRY, bans and masks have acted."""
    edits = [(index, row) for index, row in enumerate(rows) if row.edits_logits or masks[index] is not None]
    if not edits:
        return logits
    masked = [(index, mask, logits[index].copy()) for index, mask in enumerate(masks) if mask is not None]
    own = [(index, row) for index, row in edits if row.has_own_edits]
    if own:
        _edit_each(logits, own)
    _ban_early_ends(logits, edits)
    for index, mask, unedited in masked:
        _apply_mask(logits[index], unedited, mask)
    return logits


def _edit_each(logits: Floats, rows: Sequence[tuple[int, SamplerRow]]) -> None:
    for index, row in rows:
        if row.bias is not None:
            logits[index, row.bias.tokens] += row.bias.amounts
    counted = [Penalized(index, row.counts, row.sampling) for index, row in rows if row.counts is not None]
    if counted:
        penalize(logits, counted)
    for index, row in rows:
        if row.dry is not None:
            repeating, amounts = row.dry.penalties()
            logits[index, repeating] -= amounts


def _ban_early_ends(logits: Floats, rows: Sequence[tuple[int, SamplerRow]]) -> None:
    """Together for the rows that have the same: mostly all of them."""
    banned: dict[tuple[int, ...], list[int]] = {}
    for index, row in rows:
        if not row.may_end:
            banned.setdefault(row.end_ids, []).append(index)
    for end_ids, indices in banned.items():
        columns = [token_id for token_id in end_ids if token_id < logits.shape[1]]
        if len(indices) == len(logits):
            logits[:, columns] = -np.inf
        else:
            logits[np.array(indices)[:, None], columns] = -np.inf


def _apply_mask(edited: Floats, unedited: Floats, mask: Mask) -> None:
    np.copyto(edited, -np.inf, where=~mask)
    if edited.max() == -np.inf:
        np.copyto(edited, unedited, where=mask)


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
