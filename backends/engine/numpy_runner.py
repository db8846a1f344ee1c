"""A Llama-shaped model on the processor, in numpy alone: the embedded default, and small models of a user's own.

Turns what the engine asks for into batches for the network (llama.py): long prompts into chunks, short ones together,
decoding sequences in order of length. Logits are the same bits however the engine cuts prompts, whatever else it runs
at the same time, and whether a token was prefilled or decoded; so a near-tie between two tokens never depends on
company. Where a BLAS can't promise that, it holds but for the last bits (see projection.py).

Layout: weights float32, input-major, in slabs (projection.py); keys and values float32, in the engine's blocks, those
of one block of one layer side by side (paged_attention.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from typing_extensions import Self

from backends.engine.attention_plan import Indices, Queries
from backends.engine.llama import Batch, KvCache, Llama
from backends.engine.llama_config import read_config
from backends.engine.llama_loader import load_llama
from backends.engine.runner import Decoded, DeviceSampling, Floats, Ints, Launched, PrefillRow, Traits
from backends.engine.weights import Weights

_MAX_TOKENS = 256  # of a batch: more are no faster, and their activations leave the cache


@dataclass(frozen=True, slots=True)
class _Piece:
    """A row's tokens from start to stop that fit into one batch."""

    row_id: int
    row: PrefillRow
    start: int
    stop: int

    @property
    def num_tokens(self) -> int:
        return self.stop - self.start

    @property
    def positions(self) -> Indices:
        return np.arange(self.row.start + self.start, self.row.start + self.stop)

    @property
    def wanted(self) -> range:
        """Which of its tokens' logits are wanted, counted from its first."""
        if self.row.hidden_states:
            return range(0)
        if self.row.all_logits:
            return range(self.num_tokens)
        return range(self.num_tokens - 1, self.num_tokens) if self.stop == len(self.row.tokens) else range(0)


class NumpyRunner:
    """A ModelRunner, Interruptible. tiling: how products are cut on this machine."""

    def __init__(self, network: Llama, max_batch_size: int) -> None:
        self.vocab_size = network.config.vocab_size
        self.window = network.config.window
        self.max_batch_size = max_batch_size
        self.traits = Traits()
        self.tiling = network.tiling
        self._network = network
        self._cache: KvCache | None = None

    @property
    def between_parts(self) -> Callable[[], None]:
        return self._network.between_parts

    @between_parts.setter
    def between_parts(self, call: Callable[[], None]) -> None:
        self._network.between_parts = call

    @classmethod
    def load(cls, folder: Path, max_batch_size: int) -> Self:
        """Read a Hugging Face folder. Raises BackendFailed, saying in one line why it can't be run."""
        return cls(load_llama(read_config(folder), Weights(folder)), max_batch_size)

    def allocate_kv(self, num_blocks: int, block_size: int) -> None:
        self._cache = KvCache(self._network.config, self._network.tiling, num_blocks, block_size)

    def prefill(self, rows: Sequence[PrefillRow]) -> list[Floats]:
        cache = self._allocated()
        wanted: list[list[Floats]] = [[] for _ in rows]
        for pieces in _pack(rows):
            hidden_states = self._network.hidden_states(_prefill_batch(pieces, cache.block_size), cache)
            for row_id, part in self._wanted_states(pieces, hidden_states):
                wanted[row_id].append(part)
            for row_id, part in self._wanted_logits(pieces, hidden_states):
                wanted[row_id].append(part)
        return [parts[0] if len(parts) == 1 else np.concatenate(parts) for parts in wanted]

    def launch(
        self,
        tokens: Ints,
        positions: Ints,
        block_tables: Sequence[Ints],
        slots: Sequence[int],
        samplings: Sequence[DeviceSampling] | None,
    ) -> Launched:
        del slots, samplings  # what a sequence leaves behind is in its blocks alone
        return lambda: Decoded(self.decode(tokens, positions, block_tables))

    def decode(self, tokens: Ints, positions: Ints, block_tables: Sequence[Ints]) -> Floats:
        """[B, vocab_size], as `launch` has it."""
        cache = self._allocated()
        by_length = np.argsort(positions, kind="stable")
        batch = _decode_batch(tokens[by_length], positions[by_length], [block_tables[i] for i in by_length], cache)
        logits = np.empty((len(tokens), self.vocab_size), np.float32)
        logits[by_length] = self._network.logits(self._network.hidden_states(batch, cache))
        return logits

    def close(self) -> None:
        self._cache = None

    def _allocated(self) -> KvCache:
        if self._cache is None:
            raise RuntimeError("allocate_kv must come first")
        return self._cache

    def _wanted_states(self, pieces: Sequence[_Piece], hidden_states: Floats) -> Iterator[tuple[int, Floats]]:
        """For each row of which they are wanted: its number, and hidden states of its own memory."""
        first = 0
        for piece in pieces:
            if piece.row.hidden_states:
                yield piece.row_id, hidden_states[first : first + piece.num_tokens] * self._network.final_norm
            first += piece.num_tokens

    def _wanted_logits(self, pieces: Sequence[_Piece], hidden_states: Floats) -> Iterator[tuple[int, Floats]]:
        """For each row of which some are wanted: its number, and logits of its own memory."""
        first, wanted = 0, []
        for piece in pieces:
            wanted += [first + offset for offset in piece.wanted]
            first += piece.num_tokens
        logits = self._network.logits(hidden_states[wanted]) if wanted else hidden_states[:0]
        first = 0
        for piece in pieces:
            if piece.wanted:
                yield piece.row_id, logits[first : first + len(piece.wanted)].copy()
                first += len(piece.wanted)


def _pack(rows: Sequence[PrefillRow]) -> Iterator[list[_Piece]]:
    """Batches: long rows cut, short ones together, in order."""
    pieces: list[_Piece] = []
    room = _MAX_TOKENS
    for row_id, row in enumerate(rows):
        start = 0
        while start < len(row.tokens):
            piece = _Piece(row_id, row, start, min(start + room, len(row.tokens)))
            pieces.append(piece)
            start = piece.stop
            room -= piece.num_tokens
            if not room:
                yield pieces
                pieces, room = [], _MAX_TOKENS
    if pieces:
        yield pieces


def _prefill_batch(pieces: Sequence[_Piece], block_size: int) -> Batch:
    positions = np.concatenate([piece.positions for piece in pieces])
    blocks = np.concatenate([piece.row.block_table[piece.positions // block_size] for piece in pieces])
    tokens = np.concatenate([piece.row.tokens[piece.start : piece.stop] for piece in pieces])
    sequences, first = [], 0
    for piece in pieces:
        rows = slice(first, first + piece.num_tokens)
        sequences.append(Queries(rows, piece.row.start + piece.start, piece.row.block_table))
        first = rows.stop
    return Batch(tokens.astype(np.intp), positions, blocks.astype(np.intp), positions % block_size, sequences)


def _decode_batch(tokens: Ints, positions: Ints, block_tables: Sequence[Ints], cache: KvCache) -> Batch:
    """positions: in ascending order."""
    starts = positions.tolist()
    sequences = [
        Queries(slice(row, row + 1), start, table)
        for row, (start, table) in enumerate(zip(starts, block_tables, strict=True))
    ]
    blocks = [table[start // cache.block_size] for start, table in zip(starts, block_tables, strict=True)]
    where = positions.astype(np.intp)
    return Batch(tokens.astype(np.intp), where, np.array(blocks, np.intp), where % cache.block_size, sequences)
