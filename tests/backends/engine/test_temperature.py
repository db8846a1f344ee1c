"""Temperature, fixed and dynamic, against their formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.engine import temperature
from backends.engine.candidates import relative
from backends.engine.runner import Floats
from tests.backends.engine import sampling_reference as reference

eighths = st.integers(-80, 80).map(lambda number: number / 8)


def column(value: float) -> Floats:
    return np.array([[value]], np.float32)


def row(values: list[float]) -> Floats:
    return relative(np.array([values], np.float32))


def probabilities(logits: Floats) -> list[float]:
    return [*reference.softmax(dict(enumerate(logits[0].tolist()))).values()]


@settings(deadline=None)
@given(st.lists(eighths, min_size=1, max_size=30), st.floats(0.05, 4))
def test_scaled_logits_are_the_softmax_at_that_temperature(values: list[float], heat: float) -> None:
    scaled = temperature.scale(row(values), column(heat))
    expected = reference.softmax(reference.temperature(dict(enumerate(values)), heat))
    assert probabilities(scaled) == pytest.approx([*expected.values()], abs=1e-5)


@settings(deadline=None)
@given(st.lists(eighths, min_size=1, max_size=30), st.floats(0.5, 2), st.floats(0.05, 0.45), st.floats(0.2, 3))
def test_dynamic_temperature_follows_the_entropy(
    values: list[float], heat: float, spread: float, exponent: float
) -> None:
    scaled = temperature.dynamic(row(values), column(heat), column(spread), column(exponent))
    expected = reference.softmax(reference.dynamic_temperature(dict(enumerate(values)), heat, spread, exponent))
    assert probabilities(scaled) == pytest.approx([*expected.values()], abs=1e-4)


def test_dynamic_temperature_of_an_even_distribution_is_the_highest() -> None:
    """Even but for one that is out: the entropy of the other two is the greatest they can have."""
    logits = row([math.log(2), math.log(2), -np.inf])
    scaled = temperature.dynamic(logits, column(1), column(0.5), column(1))
    assert scaled.tolist() == [[0.0, 0.0, -math.inf]]


def test_dynamic_temperature_from_zero_of_a_certain_token_is_greedy() -> None:
    scaled = temperature.dynamic(row([0.0, -200.0]), column(0.5), column(0.5), column(1))
    assert probabilities(scaled) == [1.0, 0.0]
