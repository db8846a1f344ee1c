"""The cut: which tokens are left, in which order, and the choice among them and among all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.engine.candidates import NO_TOKEN, Candidates, choose_from_all, everything, top
from backends.engine.runner import Floats

seeds = st.integers(0, 2**32)
vocab_sizes = st.sampled_from([1, 5, 255, 256, 600, 1024, 2053, 4096, 16_384, 16_641, 20_000])


def random_logits(seed: int, num_rows: int, vocab_size: int, num_values: int) -> Floats:
    """With few values there are many equals; some tokens are banned."""
    rng = np.random.default_rng(seed)
    logits = (rng.integers(-num_values, num_values, (num_rows, vocab_size)) / 8).astype(np.float32)
    logits[:, 1:][rng.random((num_rows, vocab_size - 1)) < 0.2] = -np.inf
    return logits


@settings(deadline=None)
@given(seeds, vocab_sizes, st.sampled_from([2, 200, 100_000]), st.integers(1, 300))
def test_the_likeliest_reach_their_floor(seed: int, vocab_size: int, num_values: int, count: int) -> None:
    logits = random_logits(seed, 3, vocab_size, num_values)
    found = top(logits, count)
    for row in range(3):
        finite = [token for token in range(vocab_size) if logits[row, token] > -np.inf]
        ranked = sorted(finite, key=lambda token: (-logits[row, token], token))
        num_kept = int((found.logits[row] > -np.inf).sum())
        assert num_kept >= min(count, len(finite))
        assert found.tokens[row, :num_kept].tolist() == ranked[:num_kept]
        assert found.logits[row, :num_kept] == pytest.approx(logits[row, ranked[:num_kept]] - logits[row].max())


def test_the_floor_cuts_most_of_a_wide_row_away() -> None:
    logits = np.random.default_rng(0).standard_normal((4, 131_072)).astype(np.float32)
    assert top(logits, 40).tokens.shape[1] < 80


def test_a_row_without_a_finite_logit_chooses_nothing() -> None:
    logits = np.array([[-np.inf, -np.inf], [0.0, -np.inf], [np.nan, 1.0]], np.float32)
    uniforms = np.array([0.5, 0.999, 0.5])
    with np.errstate(invalid="ignore", divide="ignore"):
        found = everything(logits)
        assert found.choose(uniforms).tolist()[:2] == [NO_TOKEN, 0]
        assert choose_from_all(logits, None, uniforms).tolist() == [NO_TOKEN, 0, NO_TOKEN]


@settings(deadline=None, max_examples=40)
@given(seeds, st.sampled_from([1, 5, 256, 600, 1029]))
def test_both_ways_to_choose_give_each_token_its_share_of_the_uniforms(seed: int, vocab_size: int) -> None:
    """With evenly spaced uniforms each token comes as often as its probability says, give or take one."""
    num_uniforms = 512
    logits = random_logits(seed, 1, vocab_size, 24)
    uniforms = (np.arange(num_uniforms) + 0.5) / num_uniforms
    many = np.repeat(logits, num_uniforms, axis=0)
    heat = np.full((num_uniforms, 1), 0.7, np.float32)
    weight = np.exp((logits[0].astype(np.float64) - logits.max()) / 0.7)
    expected = num_uniforms * weight / weight.sum()

    found = everything(logits)
    scaled = Candidates(np.repeat(found.tokens, num_uniforms, axis=0), found.logits / heat)
    for chosen in (scaled.choose(uniforms), choose_from_all(many, heat, uniforms)):
        counts = np.bincount(chosen, minlength=vocab_size)
        assert np.abs(counts - expected).max() <= 1.01
        assert (counts[logits[0] == -np.inf] == 0).all()
