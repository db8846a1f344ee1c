"""Every query sees the keys that it should and no other, however sequences and queries are put together."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from backends.engine.attention_plan import Group, Planner, Queries
from backends.engine.runner import Ints


def table(sequence: int, num_tokens: int, block_size: int) -> Ints:
    """Blocks by whose numbers the sequence and the place in it can be told; some more than are needed."""
    return np.arange(num_tokens // block_size + 3, dtype=np.int32) + 10_000 * (sequence + 1)


def batch_of(starts: list[int], num_queries: list[int], block_size: int) -> list[Queries]:
    batch, first = [], 0
    for sequence, (start, num) in enumerate(zip(starts, num_queries, strict=True)):
        batch.append(Queries(slice(first, first + num), start, table(sequence, start + num, block_size)))
        first += num
    return batch


def seen(groups: list[Group], num_queries: list[int], block_size: int) -> Iterator[tuple[int, int, set[int]]]:
    """sequence, query, and the positions whose keys are read and not hidden."""
    sequence = 0
    for group in groups:
        for member, blocks in enumerate(group.blocks):
            for part in group.passes:
                num_keys = part.num_tiles * 64 if block_size <= 64 else part.num_tiles * block_size
                keys = blocks.repeat(block_size)[:num_keys] - 10_000 * (sequence + 1)
                positions = keys * block_size + np.arange(num_keys) % block_size
                for query, bias in enumerate(part.bias[member], part.queries.start):
                    is_seen = np.append(np.ones(part.first_biased, bool), bias == 0)
                    yield sequence, query, set(positions[is_seen].tolist())
            sequence += 1
    assert sequence == len(num_queries)


@given(
    starts=st.lists(st.integers(0, 700), min_size=1, max_size=8),
    block_size=st.sampled_from([1, 8, 16, 64, 128]),
    window=st.none() | st.integers(1, 300),
)
def test_decoding_sequences_see_all_their_keys_within_the_window(
    starts: list[int], block_size: int, window: int | None
) -> None:
    starts.sort()
    ones = [1] * len(starts)
    groups = Planner(4, 2, 16, block_size).plan(batch_of(starts, ones, block_size), window)
    for sequence, _, positions in seen(groups, ones, block_size):
        last = starts[sequence]
        assert positions == set(range(0 if window is None else max(0, last + 1 - window), last + 1))


@given(
    start=st.integers(0, 500),
    num_queries=st.integers(2, 150),
    block_size=st.sampled_from([1, 16, 64, 128]),
    window=st.none() | st.integers(1, 300),
)
def test_each_token_of_a_chunk_sees_what_is_before_it(
    start: int, num_queries: int, block_size: int, window: int | None
) -> None:
    groups = Planner(4, 2, 16, block_size).plan(batch_of([start], [num_queries], block_size), window)
    found = {query: positions for _, query, positions in seen(groups, [num_queries], block_size)}
    assert found == {
        query: set(range(0 if window is None else max(0, start + query + 1 - window), start + query + 1))
        for query in range(num_queries)
    }


def test_a_short_sequence_does_not_pay_for_a_long_one() -> None:
    starts = [*range(100, 131), 30_000]
    groups = Planner(4, 2, 16, 16).plan(batch_of(starts, [1] * 32, 16), None)
    assert groups[-1].blocks.shape == (1, 1876)
    assert max(group.blocks.shape[1] for group in groups[:-1]) == 12


def test_sequences_of_about_one_length_are_read_together() -> None:
    groups = Planner(4, 2, 16, 16).plan(batch_of([300] * 16, [1] * 16, 16), None)
    assert [group.rows for group in groups] == [slice(0, 16)]


def test_a_window_keeps_far_keys_from_being_read() -> None:
    (group,) = Planner(4, 2, 16, 16).plan(batch_of([30_000], [1], 16), 100)
    assert group.blocks.size * 16 <= 100 + 2 * 64
