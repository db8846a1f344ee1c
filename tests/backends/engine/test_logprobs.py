"""Log-probabilities against a double-precision softmax."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.engine.logprobs import logprobs
from tests.backends.engine import sampling_reference as reference

VOCAB_SIZES = st.sampled_from([1, 7, 600, 2053])


@settings(deadline=None)
@given(st.integers(0, 2**32), VOCAB_SIZES, st.integers(0, 20), st.floats(0.1, 30))
def test_chosen_and_top_are_the_log_softmax_of_the_raw_logits(
    seed: int, vocab_size: int, num_top: int, spread: float
) -> None:
    rng = np.random.default_rng(seed)
    logits = (rng.standard_normal((3, vocab_size)) * spread + 5).astype(np.float32)
    chosen = rng.integers(0, vocab_size, 3).astype(np.int32)
    wanted = [num_top, 0, 1]
    for row, found in enumerate(logprobs(logits, chosen, wanted)):
        values = dict(enumerate(map(float, logits[row])))
        highest = max(values.values())
        total = highest + math.log(math.fsum(math.exp(value - highest) for value in values.values()))
        assert found.chosen == pytest.approx(values[int(chosen[row])] - total, abs=1e-4)
        likeliest = reference.ranked(values)[: wanted[row]]
        assert found.top_tokens.tolist() == likeliest
        assert found.top.tolist() == pytest.approx([values[token] - total for token in likeliest], abs=1e-4)


def test_probabilities_of_the_whole_vocabulary_sum_to_one() -> None:
    logits = np.random.default_rng(3).standard_normal((1, 300)).astype(np.float32) * 4
    (found,) = logprobs(logits, np.array([17], np.int32), [300])
    assert math.fsum(map(math.exp, found.top.tolist())) == pytest.approx(1, abs=1e-5)
    assert found.top[found.top_tokens.tolist().index(17)] == pytest.approx(found.chosen)


def test_no_more_come_than_the_vocabulary_has() -> None:
    (found,) = logprobs(np.array([[1.0, 2.0]], np.float32), np.array([0], np.int32), [5])
    assert found.top_tokens.tolist() == [1, 0]


def test_what_is_no_number_is_not_among_the_likeliest() -> None:
    logits = np.array([[1.0, -np.inf, 2.0], [np.nan, np.nan, np.nan], [-np.inf] * 3], np.float32)
    found = logprobs(logits, np.array([2, 0, -1], np.int32), [3, 3, 3])
    assert [each.top_tokens.tolist() for each in found] == [[2, 0], [], []]
    assert found[0].chosen == pytest.approx(-math.log(1 + math.exp(-1)))
    assert math.isnan(found[1].chosen)
