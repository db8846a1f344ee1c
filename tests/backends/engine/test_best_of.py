"""The best of several candidates."""

from __future__ import annotations

from dataclasses import dataclass

from backends.engine.best_of import BestOf
from backends.events import Event, Finished, Started, Text


@dataclass(frozen=True)
class Ranked:
    index: int
    mean_logprob: float


def selection(*mean_logprobs: float, num_candidates: int, num_kept: int) -> BestOf:
    choices = [Ranked(i, mean) for i, mean in enumerate(mean_logprobs)]
    return BestOf(choices, num_candidates, num_kept)


def test_the_best_are_kept_in_order_and_numbered_anew() -> None:
    best = selection(-3.0, -1.0, -2.0, num_candidates=3, num_kept=2)
    said: list[Event] = best.select([Text(0, "worst"), Text(1, "best"), Text(2, "good"), Finished(0, "end")])
    said += best.select([Finished(1, "length"), Finished(2, "end")])
    assert said == [Text(0, "best"), Finished(0, "length"), Text(1, "good"), Finished(1, "end")]


def test_each_prompt_has_its_own_candidates() -> None:
    best = selection(-1.0, -2.0, -4.0, -3.0, num_candidates=2, num_kept=1)
    ends = [Finished(i, "end") for i in range(4)]
    texts = [Text(i, str(i)) for i in range(4)]
    assert best.select([*texts, ends[2], ends[3]]) == [Text(1, "3"), Finished(1, "end")]
    assert best.select(ends[:2]) == [Text(0, "0"), Finished(0, "end")]


def test_kept_choices_start_at_once() -> None:
    best = selection(-1.0, -2.0, -3.0, -4.0, num_candidates=2, num_kept=1)
    assert best.select([Started(i, 5) for i in range(4)]) == [Started(0, 5), Started(1, 5)]
