"""Which keys each query is to see, and which queries are computed together: the pure part of paged attention.

Sequences are read in groups of about equal length, so that a short one doesn't pay for a long one. A long prompt's
queries are taken a few at a time, so that scores stay in the processor's cache, and early ones don't pay for keys that
only later ones see. Whatever is read together, sums over keys go tile by tile, and tiles begin at the same positions.

Knows no tensor but the masks that it makes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from backends.engine.projection import ROWS_MULTIPLE
from backends.engine.runner import Floats, Ints

Indices: TypeAlias = npt.NDArray[np.intp]

_MIN_TILE_SIZE = 64  # keys; fewer make more products, more make short sequences pay for nothing
_MAX_GATHERED = 1 << 20  # numbers, of several sequences at once: 4 MiB
_MAX_QUERIES = 32  # of one sequence at once
_MAX_SCORES = 1 << 20  # at once: 4 MiB
_GROUP_COST = 1024  # what a group costs by itself, in keys


@dataclass(frozen=True, slots=True)
class Queries:
    """The newest tokens of one sequence. rows: theirs in the batch. start: the first one's position."""

    rows: slice
    start: int
    block_table: Ints

    @property
    def num_tokens(self) -> int:
        return int(self.rows.stop - self.rows.start)

    @property
    def stop(self) -> int:
        return self.start + self.num_tokens


@dataclass(frozen=True, slots=True)
class Pass:
    """A range of a group's queries that is computed at once, with as many of its tiles as they see.

    bias [sequences, queries, keys]: 0, or -∞ where a query doesn't see a key; for the keys from first_biased on.
    """

    queries: slice
    num_tiles: int
    bias: Floats
    first_biased: int


@dataclass(frozen=True, slots=True)
class Group:
    """Sequences that are read together, each with as many queries. blocks: [sequences, num_blocks]."""

    rows: slice
    blocks: Indices
    passes: tuple[Pass, ...]


class Planner:
    """tile_size: how many keys are summed up at once, a multiple of block_size."""

    def __init__(self, num_heads: int, num_kv_heads: int, head_dim: int, block_size: int) -> None:
        self.block_size = block_size
        self.blocks_per_tile = -(-_MIN_TILE_SIZE // block_size)
        self.tile_size = self.blocks_per_tile * block_size
        self._num_heads = num_heads
        self._max_keys = _MAX_GATHERED // (2 * num_kv_heads * head_dim)

    def plan(self, batch: Sequence[Queries], window: int | None) -> list[Group]:
        """batch: in order of their rows; sequences with one query each in order of their length.

        window: how many tokens a query sees, its own included; None: all before it.
        """
        return [self._group(members, window) for members in self._cluster(batch, window)]

    def _tiles(self, queries: Queries, window: int | None) -> range:
        """The tiles, from position 0, in which the queries see anything."""
        first = 0 if window is None else max(queries.start + 1 - window, 0) // self.tile_size
        return range(first, -(-queries.stop // self.tile_size))

    def _cluster(self, batch: Sequence[Queries], window: int | None) -> Iterator[Sequence[Queries]]:
        """Neighbours that are cheaper read together."""
        begin, waste = 0, 0
        for i, queries in enumerate(batch):
            num_keys = len(self._tiles(queries, window)) * self.tile_size
            if i > begin:
                grown = num_keys - len(self._tiles(batch[i - 1], window)) * self.tile_size
                waste += grown * (i - begin)
                is_alone = queries.num_tokens > 1 or batch[begin].num_tokens > 1
                if is_alone or waste > _GROUP_COST or num_keys * (i + 1 - begin) > self._max_keys:
                    yield batch[begin:i]
                    begin, waste = i, 0
        yield batch[begin:]

    def _group(self, members: Sequence[Queries], window: int | None) -> Group:
        tiles = [self._tiles(queries, window) for queries in members]
        num_tiles = max(map(len, tiles))
        blocks = np.zeros((len(members), num_tiles * self.blocks_per_tile), np.intp)
        for row, queries, own in zip(blocks, members, tiles, strict=True):
            table = queries.block_table[own.start * self.blocks_per_tile : -(-queries.stop // self.block_size)]
            row[: len(table)] = table
        firsts = np.array([own.start * self.tile_size for own in tiles])
        starts = np.array([queries.start for queries in members])
        passes = self._passes(starts - firsts, members[0].num_tokens, num_tiles, window)
        return Group(slice(members[0].rows.start, members[-1].rows.stop), blocks, tuple(passes))

    def _passes(self, starts: Indices, num_queries: int, num_tiles: int, window: int | None) -> Iterator[Pass]:
        """starts [sequences]: positions of the first queries, counted from the first key of their first tile."""
        num_scores = self._num_heads * len(starts) * num_tiles * self.tile_size  # of one query each
        size = max(min(_MAX_SCORES // num_scores, _MAX_QUERIES) // ROWS_MULTIPLE, 1) * ROWS_MULTIPLE
        for begin in range(0, num_queries, size):
            end = min(begin + size, num_queries)
            num_tiles_seen = min(-(-(int(starts.max()) + end) // self.tile_size), num_tiles)
            num_keys = num_tiles_seen * self.tile_size
            nearest, farthest = int(starts.min()) + begin, int(starts.max()) + end - 1
            first_biased = nearest + 1 if window is None or farthest < window else 0
            positions = (starts[:, None] + np.arange(begin, end))[:, :, None]
            keys = np.arange(first_biased, num_keys)
            is_hidden = keys > positions
            if window is not None:
                is_hidden |= keys <= positions - window
            bias = np.where(is_hidden, np.float32(-np.inf), np.float32(0))
            yield Pass(slice(begin, end), num_tiles_seen, bias, first_biased)
