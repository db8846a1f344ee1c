"""DRY against a quadratic reference by the book, llama.cpp's own test values, and a toy vocabulary's breakers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.engine.dry import Breakers, BreakerTable, DryState
from backends.request import Dry
from tests.backends.engine import sampling_reference as reference

BREAKERS: Breakers = {4: ((),), 5: ((3,),)}
BREAKER_SEQUENCES = [[4], [5, 3]]


def penalties(
    tokens: list[int], wanted: Dry, breakers: Breakers | None = None, num_prompt: int = 0
) -> dict[int, float]:
    state = DryState(wanted, breakers or {}, np.array(tokens[:num_prompt], np.int32))
    for token in tokens[num_prompt:]:
        state.accept(token)
    found, amounts = state.penalties()
    return dict(zip(found.tolist(), amounts.tolist(), strict=True))


@pytest.mark.parametrize(
    ("tokens", "wanted", "breakers", "expected"),
    [
        ([0, 1], Dry(1.0, 1.1, 2, 4), {}, [0.25] * 4),
        ([0, 1, 2, 0, 1], Dry(1.0, 1.1, 2, 5), {}, [0.296923, 0.296923, 0.109232, 0.296923]),
        ([0, 1, 3, 4, 0, 1], Dry(1.0, 1.1, 2, 6), {3: ((),)}, [0.2] * 5),
        ([0, 1, 2, 0, 1], Dry(2.0, 1.1, 2, 5), {}, [0.241818, 0.241818, 0.032727, 0.241818, 0.241818]),
        ([0, 1, 2, 3, 4, 0, 1], Dry(1.0, 1.1, 4, 7), {}, [0.2] * 5),
    ],
)
def test_probabilities_as_llamacpp_has_them(
    tokens: list[int], wanted: Dry, breakers: Breakers, expected: list[float]
) -> None:
    """The values of llama.cpp's tests/test-sampling.cpp: even tokens, and what came before."""
    amounts = penalties(tokens, wanted, breakers)
    logits = {token: -amounts.get(token, 0.0) for token in range(len(expected))}
    assert [*reference.softmax(logits).values()] == pytest.approx(expected, abs=1e-5)


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 5), max_size=60),
    st.integers(1, 4),
    st.integers(-1, 70).filter(lambda window: window != 0),
    st.integers(0, 30),
    st.booleans(),
)
def test_any_history_is_punished_as_by_the_book(
    tokens: list[int], allowed: int, window: int, num_prompt: int, has_breakers: bool
) -> None:
    wanted = Dry(0.8, 1.75, allowed, window)
    looked_at = tokens[max(0, len(tokens) - window) :] if window >= 0 else tokens
    lengths = reference.dry_lengths(looked_at, allowed, BREAKER_SEQUENCES if has_breakers else ())
    expected = {token: 0.8 * 1.75 ** (length - allowed) for token, length in lengths.items()}
    found = penalties(tokens, wanted, BREAKERS if has_breakers else None, min(num_prompt, len(tokens)))
    assert found == pytest.approx(expected, rel=1e-5)


def test_a_run_does_not_reach_across_a_breaker() -> None:
    tokens = [1, 2, 3, 9, 1, 2]
    assert penalties(tokens, Dry(1.0)) == {3: 1.0}
    assert penalties(tokens, Dry(1.0), {1: ((),)}) == {}
    assert penalties(tokens, Dry(1.0), {9: ((1,),)}) == {}


def test_text_that_goes_in_circles_gets_the_greatest_penalty_that_a_float_holds() -> None:
    (amount,) = penalties([7] * 2000, Dry(1.0)).values()
    assert math.log(amount) == pytest.approx(math.floor(88.7228391 / math.log(1.75)) * math.log(1.75), rel=1e-6)


def test_a_window_forgets_what_came_before_it() -> None:
    tokens = [1, 2, 3, 8, 9, 1, 2]
    assert penalties(tokens, Dry(1.0, window=7)) == {3: 1.0}
    assert penalties(tokens, Dry(1.0, window=6)) == {}


def test_breakers_are_found_in_tokens_that_hold_or_begin_them() -> None:
    texts = ["a", "\n", ".\n\n", " sto", "p", "xs", None, "top", "stops"]
    table = BreakerTable(texts, lambda text: [texts.index(char) if char in texts else 99 for char in text])
    assert table.resolve(["\n"]) == {1: ((),), 2: ((),)}
    # " sto" and "xs" begin with a part of it, which single characters must then complete
    assert table.resolve(["stop"]) == {3: ((4,),), 5: ((99, 99, 4),), 8: ((),)}
    assert table.resolve(["\n", "stop", ""]) == {1: ((),), 2: ((),), 3: ((4,),), 5: ((99, 99, 4),), 8: ((),)}
