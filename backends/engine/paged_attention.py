"""Attention over keys and values that lie in blocks, for sequences of any lengths at once.

Layout. In a block, keys lie dimension by dimension and values token by token, so that neither has to be transposed. All
of a layer's part of a block lies together: to gather a sequence is to copy a few kilobytes at a time. Scores are
computed block by block, as they lie; the query heads that share a key head are the rows of one product. Weighted values
are summed in tiles of at least 64 keys.

Exactness. What a query gets depends on itself and the keys that it sees, and on nothing else, to the last bit: products
differ only in their number of rows (see projection.py), sums over keys go tile by tile from the first, and what is
hidden adds zero. So a prefill in any chunks and a decode in any company give the same.

Every layer does the same with other numbers: where they lie in memory is worked out once for all layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from backends.engine.attention_plan import Group, Indices, Pass, Planner, Queries
from backends.engine.buffer import Buffer
from backends.engine.projection import Tiling
from backends.engine.runner import Floats

_GAP = 16  # one cache line between rows of scores: else all rows of 1,024 keys would fall into the same few places


class KvBlocks:
    """One layer's keys and values: [num_blocks, keys and values, kv_heads, head_dim * block_size]."""

    def __init__(self, num_blocks: int, block_size: int, num_kv_heads: int, head_dim: int) -> None:
        # Zeros and not garbage: what a block holds beyond its sequence is hidden, but NaN times zero is NaN.
        self.blocks = np.zeros((num_blocks, 2, num_kv_heads, head_dim * block_size), np.float32)
        self._keys = self.blocks[:, 0].reshape(num_blocks, num_kv_heads, head_dim, block_size)
        self._values = self.blocks[:, 1].reshape(num_blocks, num_kv_heads, block_size, head_dim)

    def write(self, blocks: Indices, offsets: Indices, keys: Floats, values: Floats) -> None:
        """keys, values [n, kv_heads, head_dim]: token i goes to place offsets[i] of blocks[i]."""
        self._keys[blocks, :, :, offsets] = keys
        self._values[blocks, :, offsets] = values


@dataclass(frozen=True, slots=True)
class _Gathered:
    """Memory for a group's keys and values.

    blocks: as they lie in the cache. keys [sequences, kv_heads, 1, blocks, head_dim, block_size] and stored_values
    [sequences, kv_heads, blocks, numbers of a block] are views of it; values [sequences, kv_heads, 1, tiles, keys of a
    tile, head_dim] is a copy, since those of a tile must lie together.
    """

    blocks: Floats
    keys: Floats
    stored_values: Floats
    values: Floats

    def fill(self, layer: KvBlocks, blocks: Indices) -> None:
        layer.blocks.take(blocks, 0, self.blocks, "clip")
        np.copyto(self.values.reshape(self.stored_values.shape), self.stored_values)


@dataclass(frozen=True, slots=True)
class _Work:
    """Memory for one pass, in every shape in which it is used. In all, sequences and kv_heads come first; then

    queries, attended [queries, query heads of each kv_head, head_dim]: what comes and what goes
    rows [products, 1, rows of each, head_dim]: the queries, and rows without meaning
    scores [products, rows, keys]; score_blocks [products, blocks, rows, block_size]; biased [queries, query heads,
    keys from the first that some query doesn't see]; score_tiles [products, rows, tiles, keys of a tile]
    sums [products, tiles, rows, head_dim]
    """

    part: Pass
    bias: Floats
    queries: Floats
    rows: Floats
    keys: Floats
    values: Floats
    scores: Floats
    score_blocks: Floats
    biased: Floats
    score_tiles: Floats
    sums: Floats

    def run(self, queries: Floats, attended: Floats) -> None:
        self.queries[...] = queries
        scores = self.scores
        np.matmul(self.rows, self.keys, out=self.score_blocks)
        np.add(self.biased, self.bias, out=self.biased)
        np.subtract(scores, np.maximum.reduce(scores, 4, keepdims=True), out=scores)
        np.exp(scores, out=scores)
        np.matmul(self.score_tiles.swapaxes(3, 4), self.values, out=self.sums)
        # einsum, since it sums short rows several times as fast as add.reduce
        totals = np.add.accumulate(np.einsum("...k->...", self.score_tiles), 4)[..., -1:]
        sums = np.add.reduce(self.sums, 3)
        np.divide(self._of_queries(sums), self._of_queries(totals), out=attended)

    def _of_queries(self, rows: Floats) -> Floats:
        """[sequences, kv_heads, products, rows, n] → [sequences, kv_heads, queries, query heads, n]."""
        num_sequences, num_kv_heads, num_queries, num_sharing, _ = self.queries.shape
        rows = rows.reshape(num_sequences, num_kv_heads, -1, rows.shape[4])[:, :, : num_queries * num_sharing]
        return rows.reshape(num_sequences, num_kv_heads, num_queries, num_sharing, rows.shape[3])


@dataclass(frozen=True, slots=True)
class Reading:
    """What every layer does for one group."""

    group: Group
    gathered: _Gathered
    works: Sequence[_Work]


class PagedAttention:
    """One model's heads over one cache's blocks; the same for all layers but for their windows."""

    def __init__(self, num_heads: int, num_kv_heads: int, head_dim: int, block_size: int, tiling: Tiling) -> None:
        self._num_heads = num_heads
        self._num_kv_heads = num_kv_heads
        self._num_sharing = num_heads // num_kv_heads
        self._head_dim = head_dim
        self._tiling = tiling
        self._planner = Planner(num_heads, num_kv_heads, head_dim, block_size)
        self._gathered, self._values, self._rows, self._scores, self._sums = (Buffer() for _ in range(5))
        self._out = Buffer(num_heads * head_dim)

    def plan(self, batch: Sequence[Queries], window: int | None) -> list[Reading]:
        """As Planner.plan; holds until the next plan."""
        return [self._prepare(group) for group in self._planner.plan(batch, window)]

    def attend(self, readings: Sequence[Reading], layer: KvBlocks, heads: Floats) -> Floats:
        """heads [N, num_heads or more, head_dim]: the queries, scaled → [N, num_heads * head_dim]; holds until the
        next call."""
        out = self._out.rows(len(heads))
        for reading in readings:
            group = reading.group
            reading.gathered.fill(layer, group.blocks)
            queries = self._by_sequence(heads[group.rows, : self._num_heads], len(group.blocks))
            attended = self._by_sequence(out[group.rows], len(group.blocks))
            for work in reading.works:
                work.run(queries[:, :, work.part.queries], attended[:, :, work.part.queries])
        return out

    def _by_sequence(self, heads: Floats, num_sequences: int) -> Floats:
        """A view: [sequences, kv_heads, queries, query heads of each, head_dim]."""
        shape = (num_sequences, -1, self._num_kv_heads, self._num_sharing, self._head_dim)
        by_query: Floats = heads.reshape(*shape)
        return np.swapaxes(by_query, 1, 2)

    def _prepare(self, group: Group) -> Reading:
        gathered = self._gathering(group.blocks)
        return Reading(group, gathered, [self._work(part, gathered) for part in group.passes])

    def _gathering(self, blocks: Indices) -> _Gathered:
        num_sequences, num_blocks = blocks.shape
        num_kv_heads, head_dim, block_size = self._num_kv_heads, self._head_dim, self._planner.block_size
        gathered = self._gathered.shaped(num_sequences, num_blocks, 2, num_kv_heads, head_dim * block_size)
        keys = gathered[:, :, 0].reshape(num_sequences, num_blocks, num_kv_heads, head_dim, block_size)
        tiles = (num_blocks // self._planner.blocks_per_tile, self._planner.tile_size)
        return _Gathered(
            blocks=gathered,
            keys=keys.swapaxes(1, 2)[:, :, None],
            stored_values=gathered[:, :, 1].swapaxes(1, 2),
            values=self._values.shaped(num_sequences, num_kv_heads, 1, *tiles, head_dim),
        )

    def _work(self, part: Pass, gathered: _Gathered) -> _Work:
        num_sequences, num_queries, _ = part.bias.shape
        num_rows = num_queries * self._num_sharing
        num_products, size = self._tiling.split(num_rows)
        num_tiles, tile_size, block_size = part.num_tiles, self._planner.tile_size, self._planner.block_size
        num_keys = num_tiles * tile_size
        first = (num_sequences, self._num_kv_heads)
        split = (*first, num_queries, self._num_sharing)

        rows = self._rows.shaped(*first, num_products * size, self._head_dim)
        scores = self._scores.shaped(*first, num_products * size, num_keys + _GAP)[..., :num_keys]
        return _Work(
            part=part,
            bias=part.bias[:, None, :, None],
            queries=rows[:, :, :num_rows].reshape(*split, self._head_dim),
            rows=rows.reshape(*first, num_products, 1, size, self._head_dim),
            keys=gathered.keys[:, :, :, : num_keys // block_size],
            values=gathered.values[:, :, :, :num_tiles],
            scores=scores.reshape(*first, num_products, size, num_keys),
            score_blocks=scores.reshape(*first, num_products, size, -1, block_size).swapaxes(3, 4),
            biased=scores[:, :, :num_rows, part.first_biased :].reshape(*split, num_keys - part.first_biased),
            score_tiles=scores.reshape(*first, num_products, size, num_tiles, tile_size),
            sums=self._sums.shaped(*first, num_products, num_tiles, size, self._head_dim),
        )
