"""The block manager: sharing, eviction, and books that always balance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from backends.engine.blocks import ROOT, BlockHash, BlockLeak, BlockManager, OutOfBlocks, chain


def hashes(*blocks: list[int]) -> list[BlockHash]:
    """Of a sequence whose blocks hold these tokens."""
    names = [ROOT]
    for tokens in blocks:
        names.append(chain(names[-1], np.array(tokens, np.int32)))
    return names[1:]


def remembered(manager: BlockManager, names: list[BlockHash]) -> list[int]:
    """Blocks that were computed and left in the cache."""
    blocks = manager.allocate(len(names))
    for block, name in zip(blocks, names, strict=True):
        manager.remember(block, name)
    manager.release(blocks)
    return blocks


def test_equal_tokens_after_different_tokens_have_different_hashes() -> None:
    assert hashes([1, 2], [3, 4])[1] != hashes([9, 2], [3, 4])[1]
    assert hashes([1, 2], [3, 4]) == hashes([1, 2], [3, 4])


def test_a_follower_takes_the_longest_known_prefix() -> None:
    manager = BlockManager(8)
    known = hashes([1, 2], [3, 4], [5, 6])
    computed = remembered(manager, known)
    blocks, num_shared = manager.open(hashes([1, 2], [3, 4], [7, 8]), 4)
    assert blocks[:2] == computed[:2]
    assert num_shared == 2
    assert computed[2] not in blocks
    manager.check()


def test_a_block_stays_owned_until_its_last_owner_lets_go() -> None:
    manager = BlockManager(4)
    names = hashes([1, 2])
    remembered(manager, names)
    first, _ = manager.open(names, 1)
    second, _ = manager.open(names, 1)
    assert first == second
    manager.release(first)
    assert manager.num_owned == 1
    manager.release(second)
    assert (manager.num_owned, manager.num_cached, manager.num_free) == (0, 1, 3)


def test_blocks_without_a_hash_are_free_again_at_once() -> None:
    manager = BlockManager(4)
    manager.release(manager.allocate(3))
    assert (manager.num_free, manager.num_cached) == (4, 0)


def test_nothing_is_evicted_while_a_block_is_free() -> None:
    manager = BlockManager(4)
    names = hashes([1, 2])
    remembered(manager, names)
    manager.allocate(3)
    assert manager.open(names, 1)[1] == 1


def test_the_least_recently_used_is_evicted_first() -> None:
    manager = BlockManager(2)
    old, new = hashes([1, 1]), hashes([2, 2])
    remembered(manager, old)
    remembered(manager, new)
    manager.release(manager.open(old, 1)[0])  # used again: now the newer
    manager.allocate(1)
    assert manager.open(old, 1)[1] == 1
    with pytest.raises(OutOfBlocks):
        manager.open(new, 1)


def test_the_end_of_a_prefix_is_evicted_before_its_beginning() -> None:
    manager = BlockManager(3)
    names = hashes([1], [2], [3])
    remembered(manager, names)
    manager.release(manager.allocate(1))
    assert manager.open(names, 3)[1] == 2


def test_an_evicted_block_is_forgotten() -> None:
    manager = BlockManager(1)
    names = hashes([1])
    remembered(manager, names)
    manager.release(manager.allocate(1))
    assert manager.open(names, 1)[1] == 0
    manager.check()


def test_too_few_blocks_leave_everything_as_it_was() -> None:
    manager = BlockManager(3)
    names = hashes([1], [2])
    remembered(manager, names)
    with pytest.raises(OutOfBlocks):
        manager.open(names, 4)
    assert (manager.num_free, manager.num_cached, manager.num_owned) == (1, 2, 0)
    manager.check()


def test_a_block_computed_twice_is_remembered_once() -> None:
    manager = BlockManager(2)
    (name,) = hashes([1])
    first, second = manager.allocate(2)
    manager.remember(first, name)
    manager.remember(second, name)
    manager.release([first])
    manager.release([second])
    assert (manager.num_cached, manager.num_free) == (1, 1)
    manager.check()


def test_a_double_release_is_an_error() -> None:
    manager = BlockManager(2)
    blocks = manager.allocate(1)
    manager.release(blocks)
    with pytest.raises(BlockLeak, match=f"block {blocks[0]} was released twice"):
        manager.release(blocks)


def test_a_lost_block_is_an_error_with_a_number() -> None:
    manager = BlockManager(5)
    manager._free.pop()
    manager._free.pop()
    with pytest.raises(BlockLeak, match="2 of 5 blocks"):
        manager.check()


class Blocks(RuleBasedStateMachine):
    """Sequences of tokens that often begin alike come, fill their blocks and go."""

    owners = Bundle("owners")

    def __init__(self) -> None:
        super().__init__()
        self.manager = BlockManager(12)
        self.owned: list[list[int]] = []

    @rule(target=owners, tokens=st.lists(st.integers(0, 2), max_size=6), num_extra=st.integers(0, 3))
    def open(self, tokens: list[int], num_extra: int) -> list[int]:
        names = hashes(*([token] for token in tokens))
        before = self.manager.num_available
        try:
            blocks, num_shared = self.manager.open(names, len(names) + num_extra)
        except OutOfBlocks:
            assert self.manager.num_available == before
            return []
        assert len(blocks) == len(set(blocks)) == len(names) + num_extra
        for block, name in list(zip(blocks, names, strict=False))[num_shared:]:
            self.manager.remember(block, name)
        self.owned.append(blocks)
        return blocks

    @rule(blocks=consumes(owners))
    def release(self, blocks: list[int]) -> None:
        if blocks:
            self.manager.release(blocks)
            self.owned.remove(blocks)

    @invariant()
    def books_balance(self) -> None:
        self.manager.check()
        manager = self.manager
        assert manager.num_free + manager.num_cached + manager.num_owned == 12
        assert manager.num_owned == len({block for blocks in self.owned for block in blocks})


TestBlocks = Blocks.TestCase
TestBlocks.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
