"""Which blocks of the KV cache are whose: paging, sharing of equal prefixes, eviction.

A block is always in one of three states:

    free      holds nothing of use
    cached    owned by nobody, but what it holds is known by its hash and can be taken again
    owned     by one sequence, or by several that begin alike; counted

Pure: knows ids, counts and hashes; nothing of sequences, tokens' meaning, or where the memory lies.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from heapq import heappop, heappush
from typing import TypeAlias

from backends.engine.runner import Ints

BlockHash: TypeAlias = bytes
"""Names a full block by its tokens and all tokens before it, so that equal hashes mean equal keys and values."""

ROOT: BlockHash = b""
"""Stands before the first block."""


def root(salt: str) -> BlockHash:
    """Stands before the first block of those who share prefixes only among themselves."""
    return blake2b(salt.encode(), digest_size=16).digest()


def chain(previous: BlockHash, tokens: Ints) -> BlockHash:
    """The hash of a full block; `previous` is the hash of the block before it, or a root."""
    return blake2b(previous + tokens.tobytes(), digest_size=16).digest()


class OutOfBlocks(Exception):
    """No block is free or cached. The scheduler's business; never a client's."""


class BlockLeak(RuntimeError):
    """The books don't balance: a bug in the engine."""


class BlockManager:
    def __init__(self, num_blocks: int) -> None:
        self.num_blocks = num_blocks
        self._free = list(range(num_blocks))  # a heap: the lowest first, so that those given together lie together
        self._cached: OrderedDict[int, None] = OrderedDict()  # the least recently used first
        self._num_owners = [0] * num_blocks
        self._hash_of: list[BlockHash | None] = [None] * num_blocks
        self._block_of: dict[BlockHash, int] = {}

    @property
    def num_free(self) -> int:
        return len(self._free)

    @property
    def num_cached(self) -> int:
        return len(self._cached)

    @property
    def num_owned(self) -> int:
        return self.num_blocks - self.num_available

    @property
    def num_available(self) -> int:
        return len(self._free) + len(self._cached)

    def open(self, prefix: Iterable[BlockHash], num_blocks: int) -> tuple[list[int], int]:
        """Blocks for a new sequence, in order, and how many of them hold its prefix already.

        prefix: hashes of the sequence's full blocks that may be taken from the cache, at most num_blocks of them.
        Raises OutOfBlocks, and then owns nothing.
        """
        shared = self._take_prefix(prefix)
        try:
            return shared + self.allocate(num_blocks - len(shared)), len(shared)
        except OutOfBlocks:
            self.release(shared)
            raise

    def _take_prefix(self, prefix: Iterable[BlockHash]) -> list[int]:
        taken: list[int] = []
        for block_hash in prefix:
            block = self._block_of.get(block_hash)
            if block is None:
                break
            self._cached.pop(block, None)
            self._num_owners[block] += 1
            taken.append(block)
        return taken

    def allocate(self, num_blocks: int) -> list[int]:
        """All or nothing: raises OutOfBlocks. Evicts only when no block is free."""
        if num_blocks > self.num_available:
            raise OutOfBlocks
        blocks = [heappop(self._free) if self._free else self._evict() for _ in range(num_blocks)]
        for block in blocks:
            self._num_owners[block] = 1
        return blocks

    def _evict(self) -> int:
        block, _ = self._cached.popitem(last=False)
        block_hash = self._hash_of[block]
        if block_hash is not None:
            del self._block_of[block_hash]
        self._hash_of[block] = None
        return block

    def remember(self, block: int, block_hash: BlockHash) -> None:
        """The block is full and really written: from now on others may share it.

        When two sequences computed the same block at once, only the first is remembered.
        """
        if block_hash not in self._block_of:
            self._block_of[block_hash] = block
            self._hash_of[block] = block_hash

    def release(self, blocks: Sequence[int]) -> None:
        """One owner lets go. The last block is the first to be evicted: a prefix is of no use without its beginning."""
        for block in reversed(blocks):
            if self._num_owners[block] == 0:
                raise BlockLeak(f"block {block} was released twice")
            self._num_owners[block] -= 1
            if self._num_owners[block]:
                continue
            if self._hash_of[block] is None:
                heappush(self._free, block)
            else:
                self._cached[block] = None

    def check(self) -> None:
        """Raises BlockLeak unless every block is free, cached or owned, and only one of these.

        About 0.1 ms for a thousand blocks: it runs whenever the engine comes to rest.
        """
        unowned = [*self._free, *self._cached]
        num_owned = self.num_blocks - self._num_owners.count(0)
        num_lost = self.num_blocks - num_owned - len(unowned)
        if num_lost:
            raise BlockLeak(f"{num_lost} of {self.num_blocks} blocks are unaccounted for")
        if len(set(unowned)) < len(unowned) or any(map(self._num_owners.__getitem__, unowned)):
            raise BlockLeak("a block is in two states at once")
        num_hashed = self.num_blocks - self._hash_of.count(None)
        if num_hashed != len(self._block_of):
            raise BlockLeak(f"{len(self._block_of)} hashes are known for {num_hashed} blocks")
        if None in map(self._hash_of.__getitem__, self._cached) or any(map(self._hash_of.__getitem__, self._free)):
            raise BlockLeak("a cached block has no hash, or a free one has")
