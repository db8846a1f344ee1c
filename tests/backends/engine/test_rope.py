"""Rotating pairs that lie side by side is what Hugging Face's models do with halves of heads."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.engine.rope import LinearScaling, Llama3Scaling, Rope, RopeScaling, YarnScaling, interleave
from backends.engine.runner import Floats

HEAD_DIM = 16
SCALINGS: list[RopeScaling | None] = [
    None,
    LinearScaling(2.0),
    Llama3Scaling(8.0, 256, 1.0, 4.0),
    YarnScaling(4.0, 256, attention_factor=1.0),
]


def random_heads(num_heads: int) -> Floats:
    return np.random.default_rng(0).standard_normal((num_heads, HEAD_DIM), np.float32)


def rotated(rope: Rope, head: Floats, position: int) -> Floats:
    pairs = interleave(head, HEAD_DIM).view(np.complex64)
    return (pairs * rope.rotations(np.array([position]))[0]).view(np.float32)


@given(position=st.integers(0, 100_000))
def test_pairs_are_the_two_halves_of_a_head(position: int) -> None:
    (head,) = random_heads(1)
    first, second = head[: HEAD_DIM // 2], head[HEAD_DIM // 2 :]
    angles = position / 10_000.0 ** (np.arange(HEAD_DIM // 2) / (HEAD_DIM // 2))
    halves = first * np.cos(angles) - second * np.sin(angles), second * np.cos(angles) + first * np.sin(angles)
    expected = np.stack(halves, axis=1).reshape(-1)
    np.testing.assert_allclose(rotated(Rope(HEAD_DIM, 10_000.0), head, position), expected, atol=0.02)


@pytest.mark.parametrize("scaling", SCALINGS, ids=lambda scaling: type(scaling).__name__)
def test_only_the_distance_between_two_tokens_matters(scaling: RopeScaling | None) -> None:
    rope = Rope(HEAD_DIM, 10_000.0, scaling)
    query, key = random_heads(2)
    near, far = (rotated(rope, query, start + 7) @ rotated(rope, key, start) for start in (0, 5000))
    assert near == pytest.approx(far, abs=1e-3)
    assert near != pytest.approx(rotated(rope, query, 0) @ rotated(rope, key, 0), abs=1e-2)


def test_interleaving_rows_keeps_heads_apart() -> None:
    rows = np.arange(8, dtype=np.float32)[:, None] * np.ones(3, np.float32)
    assert interleave(rows, 4)[:, 0].tolist() == [0, 2, 1, 3, 4, 6, 5, 7]
