"""Mirostat 1 and 2 against the paper's formulas, and that they do keep surprise near its target."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from backends.engine.candidates import NO_TOKEN
from backends.engine.mirostat import MirostatState
from backends.engine.runner import Floats
from backends.request import Mirostat
from tests.backends.engine import sampling_reference as reference
from tests.backends.engine.sampling_reference import Logits

eighths = st.integers(-80, 80).map(lambda number: number / 8)
distributions = st.lists(eighths, min_size=2, max_size=200).map(lambda values: dict(enumerate(values)))


def as_row(logits: Logits) -> Floats:
    return np.array([[*logits.values()]], np.float32)


def kept(state: MirostatState, logits: Floats) -> set[int]:
    found = state.truncate(logits)
    return set(found.tokens[found.logits > -np.inf].tolist())


def zipf(vocab_size: int) -> Floats:
    ranks = np.arange(1, vocab_size + 1)
    return (-1.1 * np.log(ranks)).astype(np.float32)[None]


@settings(deadline=None)
@given(distributions, st.floats(0.5, 12))
def test_version_2_keeps_what_surprises_no_more_than_mu(logits: Logits, mu: float) -> None:
    surprises = [-math.log2(p) for p in reference.softmax(logits).values()]
    assume(all(abs(surprise - mu) > 1e-4 for surprise in surprises))
    state = MirostatState(Mirostat(2))
    state.mu = mu
    # where all surprise more, the likeliest are left, which the reference gives as one
    expected = {token for token, s in enumerate(surprises) if s <= max(mu, min(surprises))}
    assert kept(state, as_row(logits)) == expected
    assert set(reference.mirostat_2(logits, mu)) <= expected


@settings(deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([110, 300, 2048]), st.floats(1, 8), st.floats(0.5, 9))
def test_version_1_keeps_as_many_as_zipfs_law_says(seed: int, vocab_size: int, spread: float, mu: float) -> None:
    values = np.random.default_rng(seed).standard_normal(vocab_size).astype(np.float32) * np.float32(spread)
    logits = dict(enumerate(map(float, values)))
    rank = reference.mirostat_1_rank(logits, mu, vocab_size)
    nearby = {reference.mirostat_1_rank(logits, mu * (1 + nudge), vocab_size) for nudge in (-1e-4, 1e-4)}
    assume(nearby == {rank})
    state = MirostatState(Mirostat(1))
    state.mu = mu
    assert kept(state, as_row(logits)) == set(reference.top_k(logits, rank))


@pytest.mark.parametrize("version", [1, 2])
def test_mu_moves_by_eta_times_the_error_of_the_accepted_token(version: int) -> None:
    state = MirostatState(Mirostat(1 if version == 1 else 2, tau=3.0, eta=0.25))
    logits = zipf(50)
    assert state.mu == 6.0
    token = state.choose(logits, np.array([0.4]))
    left = dict(enumerate(map(float, logits[0])))
    share = reference.softmax(reference.only(left, sorted(kept(state, logits))))[token]
    assert state.mu == 6.0, "choosing moves nothing"
    state.accept(token)
    assert state.mu == pytest.approx(6.0 - 0.25 * (-math.log2(share) - 3.0), abs=1e-5)


def test_a_token_that_was_forced_moves_nothing() -> None:
    state = MirostatState(Mirostat(2))
    token = state.choose(zipf(50), np.array([0.4]))
    state.accept(token + 1)
    state.accept(token)
    assert state.mu == 10.0


@pytest.mark.parametrize(("version", "tau"), [(1, 3.0), (2, 3.0), (2, 5.0)])
def test_surprise_settles_at_its_target(version: int, tau: float) -> None:
    """Over a distribution that alone would surprise by more than eight bits."""
    rng = np.random.default_rng(1)
    state = MirostatState(Mirostat(1 if version == 1 else 2, tau=tau, eta=0.1))
    logits = zipf(4096)
    surprises = []
    for _ in range(1500):
        found = state.truncate(logits)
        token = state.choose(logits, rng.random(1))
        weight = np.exp(found.logits[0])
        surprises.append(-math.log2(weight[found.tokens[0] == token][0] / weight.sum()))
        state.accept(token)
    assert np.mean(surprises[300:]) == pytest.approx(tau, abs=0.15)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("values", [[0.0], [1.0] * 300, [5.0, *[-np.inf] * 299], [0.0, -200.0, -200.0]])
@pytest.mark.parametrize("mu", [-5.0, 0.0, 3.0, 900.0])
def test_something_is_left_whatever_mu_and_the_logits(version: int, values: list[float], mu: float) -> None:
    state = MirostatState(Mirostat(1 if version == 1 else 2))
    state.mu = mu
    logits = np.array([values], np.float32)
    assert kept(state, logits)
    assert logits[0, state.choose(logits, np.array([0.999]))] > -np.inf


def test_nothing_to_choose_from_chooses_nothing() -> None:
    state = MirostatState(Mirostat(2))
    with np.errstate(invalid="ignore"):
        assert state.choose(np.full((1, 4), -np.inf, np.float32), np.array([0.5])) == NO_TOKEN
    assert state.mu == 10.0
