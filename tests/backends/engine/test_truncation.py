"""Each truncation against its published formula, token by token, and against values worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from backends.engine import truncation
from backends.engine.candidates import Candidates, everything
from backends.engine.runner import Floats
from tests.backends.engine import sampling_reference as reference
from tests.backends.engine.sampling_reference import Logits

MARGIN = 1e-4
"""Cases in which a bound falls this near to a token are left out: float32 may decide them either way."""

eighths = st.integers(-80, 80).map(lambda number: number / 8)
distributions = st.lists(eighths, min_size=1, max_size=40).map(lambda values: dict(enumerate(values)))
shares = st.floats(0.01, 0.99)


def column(value: float) -> Floats:
    return np.array([[value]], np.float32)


def candidates(logits: Logits) -> Candidates:
    row = np.array([[logits.get(token, -np.inf) for token in range(max(logits) + 1)]], np.float32)
    return everything(row)


def survivors(logits: Logits, stage: Callable[[Floats], Floats]) -> set[int]:
    found = candidates(logits)
    kept = stage(found.logits)
    is_kept = kept > -np.inf
    assert (kept[is_kept] == found.logits[is_kept]).all(), "a truncation changes no logit"
    return set(found.tokens[is_kept].tolist())


def probable(*probabilities: float) -> Logits:
    return {token: math.log(p) for token, p in enumerate(probabilities)}


def is_clear(values: list[float], bound: float) -> bool:
    return all(abs(value - bound) > MARGIN for value in values)


def cumulated(logits: Logits, order: list[int]) -> list[float]:
    probabilities = reference.softmax(logits)
    return [math.fsum(probabilities[token] for token in order[: place + 1]) for place in range(len(order))]


# Worked out by hand; the same cases as in llama.cpp's tests/test-sampling.cpp, none on a bound that rounding decides.
BY_HAND: list[tuple[str, Callable[[Floats], Floats], Logits, set[int]]] = [
    ("top-k 1", lambda x: truncation.keep_top_k(x, column(1)), probable(0.1, 0.2, 0.3, 0.4), {3}),
    ("top-k 3", lambda x: truncation.keep_top_k(x, column(3)), probable(0.1, 0.2, 0.3, 0.4), {1, 2, 3}),
    ("top-k more", lambda x: truncation.keep_top_k(x, column(9)), probable(0.1, 0.2, 0.3, 0.4), {0, 1, 2, 3}),
    ("top-p 0", lambda x: truncation.keep_top_p(x, column(0)), probable(0.1, 0.2, 0.3, 0.4), {3}),
    ("top-p 0.69", lambda x: truncation.keep_top_p(x, column(0.69)), probable(0.1, 0.2, 0.3, 0.4), {2, 3}),
    ("top-p 0.8", lambda x: truncation.keep_top_p(x, column(0.8)), probable(0.1, 0.2, 0.3, 0.4), {1, 2, 3}),
    ("min-p 0.24", lambda x: truncation.keep_min_p(x, column(0.24)), probable(0.1, 0.2, 0.3, 0.4), {0, 1, 2, 3}),
    ("min-p 0.26", lambda x: truncation.keep_min_p(x, column(0.26)), probable(0.1, 0.2, 0.3, 0.4), {1, 2, 3}),
    ("min-p 0.74", lambda x: truncation.keep_min_p(x, column(0.74)), probable(0.1, 0.2, 0.3, 0.4), {2, 3}),
    ("min-p 1.05", lambda x: truncation.keep_min_p(x, column(1.05)), probable(0.1, 0.2, 0.3, 0.4), {3}),
    ("typical peaked", lambda x: truncation.keep_typical(x, column(0.5)), probable(0.97, 0.01, 0.01, 0.01), {0}),
    ("typical flat", lambda x: truncation.keep_typical(x, column(0.5)), probable(0.4, 0.2, 0.2, 0.2), {1, 2, 3}),
    ("sigma 1", lambda x: truncation.keep_top_n_sigma(x, column(1)), probable(0.1, 0.2, 0.3, 0.4), {2, 3}),
    ("sigma 3", lambda x: truncation.keep_top_n_sigma(x, column(3)), probable(0.1, 0.2, 0.3, 0.4), {0, 1, 2, 3}),
]


@pytest.mark.parametrize(("stage", "logits", "kept"), [case[1:] for case in BY_HAND], ids=[case[0] for case in BY_HAND])
def test_kept_as_worked_out_by_hand(stage: Callable[[Floats], Floats], logits: Logits, kept: set[int]) -> None:
    assert survivors(logits, stage) == kept


@pytest.mark.parametrize(
    ("threshold", "kept"), [(0.09, {3}), (0.19, {2, 3}), (0.29, {1, 2, 3}), (0.39, {0, 1, 2, 3}), (0.0, {3})]
)
def test_xtc_leaves_the_least_likely_top_choice(threshold: float, kept: set[int]) -> None:
    def stage(logits: Floats) -> Floats:
        return truncation.exclude_top_choices(logits, column(threshold), np.array([[True]]))

    assert survivors(probable(0.4, 0.3, 0.2, 0.1), stage) == kept


def test_xtc_does_nothing_where_its_chance_has_not_come() -> None:
    logits = candidates(probable(0.4, 0.3, 0.2, 0.1)).logits
    both = truncation.exclude_top_choices(
        np.repeat(logits, 2, axis=0), np.full((2, 1), 0.09, np.float32), np.array([[True], [False]])
    )
    assert (both > -np.inf).sum(axis=1).tolist() == [1, 4]


@settings(deadline=None)
@given(distributions, st.integers(1, 50))
def test_top_k_keeps_the_k_likeliest_and_of_equals_the_lower_ids(logits: Logits, k: int) -> None:
    assert survivors(logits, lambda x: truncation.keep_top_k(x, column(k))) == set(reference.top_k(logits, k))


@settings(deadline=None)
@given(distributions, shares)
def test_top_p_keeps_the_smallest_nucleus(logits: Logits, p: float) -> None:
    assume(is_clear(cumulated(logits, reference.ranked(logits)), p))
    assert survivors(logits, lambda x: truncation.keep_top_p(x, column(p))) == set(reference.top_p(logits, p))


@settings(deadline=None)
@given(distributions, shares)
def test_min_p_keeps_what_is_likely_enough_beside_the_likeliest(logits: Logits, p: float) -> None:
    highest = max(logits.values())
    assume(is_clear([math.exp(logit - highest) for logit in logits.values()], p))
    assert survivors(logits, lambda x: truncation.keep_min_p(x, column(p))) == set(reference.min_p(logits, p))


@settings(deadline=None)
@given(distributions, st.floats(0.05, 4.0))
def test_top_n_sigma_keeps_what_is_within_n_deviations(logits: Logits, n: float) -> None:
    mean = math.fsum(logits.values()) / len(logits)
    sigma = math.sqrt(math.fsum((logit - mean) ** 2 for logit in logits.values()) / len(logits))
    assume(sigma == 0 or is_clear(list(logits.values()), max(logits.values()) - n * sigma))
    assert survivors(logits, lambda x: truncation.keep_top_n_sigma(x, column(n))) == set(
        reference.top_n_sigma(logits, n)
    )


@settings(deadline=None)
@given(distributions, shares)
def test_typical_keeps_what_is_about_as_surprising_as_expected(logits: Logits, p: float) -> None:
    probabilities = reference.softmax(logits)
    expected = reference.entropy(probabilities)
    distances = sorted({abs(-math.log(share) - expected) for share in probabilities.values()})
    assume(all(b - a > MARGIN for a, b in pairwise(distances)))
    ranked = reference.ranked(logits)
    nearest = sorted(ranked, key=lambda token: abs(-math.log(probabilities[token]) - expected))
    assume(is_clear(cumulated(logits, nearest), p))
    assert survivors(logits, lambda x: truncation.keep_typical(x, column(p))) == set(reference.typical_p(logits, p))


@settings(deadline=None)
@given(distributions, st.floats(0.0, 0.5))
def test_xtc_excludes_all_top_choices_but_the_least_likely(logits: Logits, threshold: float) -> None:
    assume(is_clear(list(reference.softmax(logits).values()), threshold))

    def stage(x: Floats) -> Floats:
        return truncation.exclude_top_choices(x, column(threshold), np.array([[True]]))

    assert survivors(logits, stage) == set(reference.xtc(logits, threshold))


@settings(deadline=None)
@given(distributions, st.floats(0, 1), st.floats(0.001, 1), st.data())
def test_one_token_at_least_survives_any_of_them_in_any_order(
    logits: Logits, p: float, q: float, data: st.DataObject
) -> None:
    stages: list[Callable[[Floats], Floats]] = [
        lambda x: truncation.keep_top_k(x, column(1 + round(9 * p))),
        lambda x: truncation.keep_top_p(x, column(p)),
        lambda x: truncation.keep_min_p(x, column(q)),
        lambda x: truncation.keep_typical(x, column(p)),
        lambda x: truncation.keep_top_n_sigma(x, column(q)),
        lambda x: truncation.exclude_top_choices(x, column(q / 2), np.array([[True]])),
    ]

    def in_turn(x: Floats) -> Floats:
        for stage in data.draw(st.permutations(stages)):
            x = stage(x)
        return x

    assert survivors(logits, in_turn)


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(600, 5003), st.floats(0.2, 6.0), shares, st.floats(0.3, 2.0))
def test_nothing_that_top_p_keeps_is_cut_away_before(
    seed: int, vocab_size: int, spread: float, p: float, heat: float
) -> None:
    logits = (np.random.default_rng(seed).standard_normal((1, vocab_size)) * spread).astype(np.float32)
    floor, total = truncation.top_p_floor(logits, column(p), column(heat), logits.max(axis=1, keepdims=True))
    exact = np.sort(np.exp((logits[0].astype(np.float64) - logits.max()) / heat))[::-1]
    assert total[0, 0] == pytest.approx(exact.sum(), rel=1e-5)
    least = exact[int((exact.cumsum() < p * exact.sum()).sum())]
    assert floor[0, 0] <= logits.max() + heat * math.log(least) + 1e-6
