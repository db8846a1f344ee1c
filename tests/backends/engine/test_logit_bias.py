"""Bias by id and by text, as a request has it, to what is added to which logits."""

from __future__ import annotations

import math
from typing import Literal

import pytest

from backends.engine.logit_bias import LogitBias

TOKENS = {"Hello": [3, 4], " world": [5], "": []}


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, {}),
        ({7: 1.5, 2: -100}, {7: 1.5, 2: -100.0}),
        ({7: False}, {7: -math.inf}),
        ({"Hello": -1.0}, {3: -1.0, 4: -1.0}),
        ({"Hello": 2.0, 3: 0.5, "": 9.0}, {3: 2.5, 4: 2.0}),
        ({"Hello": False, 3: 5.0}, {3: -math.inf, 4: -math.inf}),
        ({50256: -100.0, 9: 1.0, -1: 3.0}, {9: 1.0}),
    ],
)
def test_bias_resolves_to_ids(wanted: dict[int | str, float | Literal[False]], expected: dict[int, float]) -> None:
    bias = LogitBias.resolve(wanted, TOKENS.__getitem__, 10)
    assert dict(zip(bias.tokens.tolist(), bias.amounts.tolist(), strict=True)) == expected


def test_zero_is_no_ban() -> None:
    """In Python 0 equals False."""
    bias = LogitBias.resolve({1: 0, 2: 0.0}, TOKENS.__getitem__, 10)
    assert bias.amounts.tolist() == [0.0, 0.0]
