"""A sequence's random numbers and when it may end."""

from __future__ import annotations

import numpy as np
import pytest

from backends.engine.resolved_sampling import ResolvedSampling
from backends.engine.sampler_row import NUM_DRAWS, SamplerRow
from backends.request import Sampling


def new_row(seed: int = 1, *, end_ids: tuple[int, ...] = (), min_tokens: int = 0) -> SamplerRow:
    prompt = np.array([1, 2, 3], np.int32)
    return SamplerRow(ResolvedSampling.of(Sampling(), {}), prompt, seed, end_ids=end_ids, min_tokens=min_tokens)


def numbers(row: SamplerRow, count: int) -> list[tuple[float, float]]:
    found = []
    for _ in range(count):
        found.append((row.uniform, row.chance))
        row.accept(0)
    return found


def test_random_numbers_belong_to_the_place_not_to_how_often_one_looks() -> None:
    row = new_row()
    assert row.uniform == row.uniform
    assert row.uniform != row.chance
    first = row.uniform
    row.accept(5)
    assert row.uniform != first


def test_the_same_seed_gives_the_same_numbers_and_another_others() -> None:
    count = 3 * NUM_DRAWS + 1
    assert numbers(new_row(7), count) == numbers(new_row(7), count)
    assert not set(numbers(new_row(7), count)) & set(numbers(new_row(8), count))


def test_random_numbers_are_even_and_never_come_again() -> None:
    drawn = np.array(numbers(new_row(3), 64 * NUM_DRAWS))
    assert len(np.unique(drawn)) == drawn.size
    assert drawn.min() >= 0
    assert drawn.max() < 1
    assert drawn.mean(axis=0) == pytest.approx([0.5, 0.5], abs=0.02)
    assert np.corrcoef(drawn.T)[0, 1] == pytest.approx(0, abs=0.05)


def test_it_may_end_once_enough_tokens_came() -> None:
    row = new_row(end_ids=(2,), min_tokens=2)
    assert [row.may_end, row.edits_logits] == [False, True]
    row.accept(5)
    assert not row.may_end
    row.accept(5)
    assert [row.may_end, row.edits_logits] == [True, False]


def test_without_end_ids_there_is_nothing_to_wait_for() -> None:
    assert new_row(min_tokens=9).may_end
