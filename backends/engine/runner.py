"""What the engine needs of a model on a device. The engine knows nothing else of either.

The engine owns the paging: it says in which blocks a sequence's keys and values live; the runner only reads and writes
there. All calls come from the engine's one thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

Ints: TypeAlias = npt.NDArray[np.int32]
Floats: TypeAlias = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class PrefillRow:
    """A chunk of one sequence's prompt.

    tokens [n]: the chunk. start: how many of the sequence's tokens are in the cache already (a multiple of the block
    size). block_table: the sequence's blocks in order, covering at least start + n tokens. slot: its row in the batch.
    all_logits: the logits of every token of the chunk are wanted, not of the last alone.
    """

    tokens: Ints
    start: int
    block_table: Ints
    slot: int
    all_logits: bool = False


class ModelRunner(Protocol):
    """window: the most tokens that a sequence may have. max_batch_size: the most sequences in a decode."""

    vocab_size: int
    window: int
    max_batch_size: int

    def allocate_kv(self, num_blocks: int, block_size: int) -> None:
        """Make room for num_blocks blocks of block_size tokens; called once, before anything is run."""
        ...

    def prefill(self, rows: Sequence[PrefillRow]) -> list[Floats]:
        """Evaluate the chunks; for each row its logits, [1, vocab_size] or (all_logits) [n, vocab_size]."""
        ...

    def decode(self, tokens: Ints, positions: Ints, block_tables: Sequence[Ints], slots: Sequence[int]) -> Floats:
        """One step for each of B sequences → logits [B, vocab_size].

        tokens [B]: each sequence's newest token; positions [B]: where it goes, counted from 0.
        """
        ...

    def embed(self, tokens: Ints) -> Floats:
        """The mean over tokens of the last hidden state, after the final norm: [hidden_size]. Leaves no trace in
        the cache."""
        ...

    def close(self) -> None:
        """Let go of the device. Safe to call twice."""
        ...
