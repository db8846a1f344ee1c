"""Repetition, presence and frequency penalties against their formulas, with each dialect family's way of counting."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.engine.penalties import Penalized, TokenCounts, penalize
from backends.engine.resolved_sampling import ResolvedSampling
from backends.engine.runner import Floats, Ints
from backends.request import Sampling
from tests.backends.engine import sampling_reference as reference

VOCAB_SIZE = 12
tokens = st.lists(st.integers(0, VOCAB_SIZE - 1), max_size=30)


def ids(values: list[int]) -> Ints:
    return np.array(values, np.int32)


def resolved(repetition: float = 1, frequency: float = 0, presence: float = 0) -> ResolvedSampling:
    wanted = Sampling(repetition_penalty=repetition, frequency_penalty=frequency, presence_penalty=presence)
    return ResolvedSampling.of(wanted, {})


def counted(prompt: list[int], answer: list[int], window: int = -1, count_prompt: bool = True) -> TokenCounts:
    counts = TokenCounts(ids(prompt), window, count_prompt)
    for token in answer:
        counts.accept(token)
    return counts


def penalized(logits: Floats, counts: TokenCounts, sampling: ResolvedSampling) -> list[float]:
    changed = logits.copy()
    penalize(changed, [Penalized(0, counts, sampling)])
    return [*map(float, changed[0])]


@pytest.mark.parametrize(
    ("came", "sampling", "expected"),
    [
        ([0], resolved(repetition=50), [0, 0.25, 0.25, 0.25, 0.25]),
        ([0, 1, 2], resolved(repetition=50), [0, 0, 0, 0.5, 0.5]),
        ([0, 1, 2, 0, 0], resolved(repetition=50), [0, 0, 0, 0.5, 0.5]),
        ([0], resolved(frequency=5, presence=5), [0.000011, 0.249997, 0.249997, 0.249997, 0.249997]),
        ([0, 1, 2], resolved(frequency=5, presence=5), [0.000023, 0.000023, 0.000023, 0.499966, 0.499966]),
        ([0, 1, 2, 0, 0], resolved(frequency=5, presence=5), [0.0, 0.000023, 0.000023, 0.499977, 0.499977]),
    ],
)
def test_probabilities_as_llamacpp_has_them(came: list[int], sampling: ResolvedSampling, expected: list[float]) -> None:
    """The values of llama.cpp's tests/test-sampling.cpp: five even tokens, penalised for these."""
    logits = np.full((1, 5), math.log(0.2), np.float32)
    changed = penalized(logits, counted(came, []), sampling)
    assert [*reference.softmax(dict(enumerate(changed))).values()] == pytest.approx(expected, abs=1e-5)


@settings(deadline=None)
@given(
    st.lists(st.integers(-40, 40), min_size=VOCAB_SIZE, max_size=VOCAB_SIZE),
    tokens,
    tokens,
    st.integers(-1, 40).filter(lambda window: window != 0),
    st.booleans(),
    st.floats(0.5, 2),
    st.floats(-2, 2),
    st.floats(-2, 2),
)
def test_any_history_is_penalised_as_if_counted_afresh(
    values: list[int],
    prompt: list[int],
    answer: list[int],
    window: int,
    count_prompt: bool,
    repetition: float,
    frequency: float,
    presence: float,
) -> None:
    logits = {token: value / 4 for token, value in enumerate(values)}
    start = max(0, len(prompt) + len(answer) - window) if window >= 0 else 0
    recent = (prompt + answer)[start:]
    recent_answer = answer[max(0, start - len(prompt)) :]
    expected = reference.penalties(
        logits, recent, recent if count_prompt else recent_answer, repetition, frequency, presence
    )
    changed = penalized(
        np.array([[*logits.values()]], np.float32),
        counted(prompt, answer, window, count_prompt),
        resolved(repetition, frequency, presence),
    )
    assert changed == pytest.approx([*expected.values()], abs=1e-4)


def test_the_prompt_counts_for_repetition_but_not_for_openais_penalties() -> None:
    logits = np.array([[2.0, 2.0, 2.0, -2.0]], np.float32)
    prompt, answer = [0, 0, 3], [1, 1]
    openai = penalized(logits, counted(prompt, answer, count_prompt=False), resolved(2.0, 0.25, 0.5))
    llamacpp = penalized(logits, counted(prompt, answer, count_prompt=True), resolved(2.0, 0.25, 0.5))
    assert openai == [1.0, 1.0 - 2 * 0.25 - 0.5, 2.0, -4.0]
    assert llamacpp == [1.0 - 2 * 0.25 - 0.5, 1.0 - 2 * 0.25 - 0.5, 2.0, -4.0 - 0.25 - 0.5]


def test_a_token_that_left_the_window_is_free_again() -> None:
    counts = counted([7], [1, 2], window=2)
    logits = np.ones((1, VOCAB_SIZE), np.float32)
    assert penalized(logits, counts, resolved(presence=1)) == [1, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1]


def test_the_answers_own_tokens_leave_the_window_too() -> None:
    """After the prompt's have, which were not counted."""
    counts = counted([7, 8], [1, 1, 1, 1], window=3, count_prompt=False)
    assert penalized(np.ones((1, 2), np.float32), counts, resolved(frequency=1)) == [1, 1 - 3]


def test_each_row_of_a_batch_is_penalised_as_it_would_be_alone() -> None:
    rng = np.random.default_rng(5)
    logits = rng.standard_normal((3, VOCAB_SIZE)).astype(np.float32)
    samplings = [resolved(1.5, 0.1, 0.2), resolved(0.8, 0.0, -1.0), resolved(1.0, 2.0, 0.0)]
    counts = [counted([1, 2, 3], [4] * n, window=4 + n, count_prompt=n == 1) for n in range(3)]
    together = logits.copy()
    penalize(together, [Penalized(row, counts[row], samplings[row]) for row in (2, 0, 1)])
    for row in range(3):
        assert together[row].tolist() == penalized(logits[row : row + 1], counts[row], samplings[row])


def test_a_ban_stays_a_ban() -> None:
    logits = np.array([[-np.inf, 1.0]], np.float32)
    assert penalized(logits, counted([0], []), resolved(1.5, -2.0, -2.0)) == [-math.inf, 1.0]
