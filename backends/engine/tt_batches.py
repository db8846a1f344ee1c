"""What the engine asks for, as the arrays that tt-metal's Generator takes. Pure.

Block 0 of the device's cache belongs to nobody: the engine's block b is the device's b + 1. The Generator fills page
tables up with zeros and writes the keys and values of padding to wherever they point (generator.py,
prefill_forward_single_user_text, and every traced prefill), so each unused entry must lead to a block that nobody
reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from backends.engine.runner import DeviceSampling, Ints, PrefillRow

IDLE = -1
"""The position of a row that decodes nothing."""

JUNK_BLOCK = 0
_ANY_P = 0.5
"""With one candidate top_p has no say; but where all rows have 1.0 some meshes switch to a sampler that has a trace of
its own (tt_sampling.py, _is_force_argmax_sampling), and would capture it in the middle of a request."""


@dataclass(frozen=True, slots=True)
class PrefillBatch:
    """tokens [N, S] with zeros where they are cached or padding; page_table [N, W]; the others [N].

    ends: tokens of each row in all, those in the cache included.
    """

    tokens: Ints
    page_table: Ints
    ends: list[int]
    starts: list[int]
    slots: list[int]


@dataclass(frozen=True, slots=True)
class DecodeBatch:
    """tokens [B, 1], positions [B], page_table [B, W] of the full batch; rows: where each sequence is in it."""

    tokens: Ints
    positions: Ints
    page_table: Ints
    rows: list[int]


def prefill_batch(rows: Sequence[PrefillRow], width: int) -> PrefillBatch:
    ends = [row.start + len(row.tokens) for row in rows]
    tokens = np.zeros((len(rows), max(ends)), np.int32)
    for at, row in enumerate(rows):
        tokens[at, row.start : ends[at]] = row.tokens
    return PrefillBatch(
        tokens,
        _page_table([row.block_table for row in rows], range(len(rows)), len(rows), width),
        ends,
        [row.start for row in rows],
        [row.slot for row in rows],
    )


def decode_batch(
    tokens: Ints, positions: Ints, block_tables: Sequence[Ints], slots: Sequence[int], batch_size: int, width: int
) -> DecodeBatch:
    rows = list(slots)
    all_tokens = np.zeros((batch_size, 1), np.int32)
    all_tokens[rows, 0] = tokens
    all_positions = np.full(batch_size, IDLE, np.int32)
    all_positions[rows] = positions
    return DecodeBatch(all_tokens, all_positions, _page_table(block_tables, rows, batch_size, width), rows)


def _page_table(block_tables: Sequence[Ints], rows: Sequence[int], num_rows: int, width: int) -> Ints:
    table = np.full((num_rows, width), JUNK_BLOCK, np.int32)
    lengths = np.array([len(blocks) for blocks in block_tables])
    firsts = lengths.cumsum() - lengths
    columns = np.arange(lengths.sum()) - firsts.repeat(lengths)
    table[np.array(rows).repeat(lengths), columns] = np.concatenate(block_tables) + 1
    return table


def sampling_lists(samplings: Sequence[DeviceSampling], rows: Sequence[int], batch_size: int) -> dict[str, list[float]]:
    """temperature, top_k and top_p of every row of the batch; those that decode nothing are greedy."""
    lists: dict[str, list[float]] = {
        "temperature": [0.0] * batch_size,
        "top_k": [1] * batch_size,
        "top_p": [_ANY_P] * batch_size,
    }
    for row, sampling in zip(rows, samplings, strict=True):
        if sampling.top_k > 1:
            lists["temperature"][row] = sampling.temperature
            lists["top_k"][row] = sampling.top_k
            lists["top_p"][row] = sampling.top_p
    return lists
