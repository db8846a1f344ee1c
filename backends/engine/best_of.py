"""Of each prompt's candidates, the few with the best mean log-probability (OpenAI's `best_of`). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Protocol

from backends.events import Event, Finished, Prefilled, Started


class Candidate(Protocol):
    """mean_logprob: of its tokens; asked for once it has ended."""

    @property
    def index(self) -> int: ...

    @property
    def mean_logprob(self) -> float: ...


class BestOf:
    """candidates: of all prompts, prompt by prompt; num_candidates for each, of which num_kept are kept.

    What a candidate says is held back until all candidates of its prompt have ended.
    """

    def __init__(self, candidates: Sequence[Candidate], num_candidates: int, num_kept: int) -> None:
        self._candidates = candidates
        self._num_candidates = num_candidates
        self._num_kept = num_kept
        self._held: dict[int, list[Event]] = {candidate.index: [] for candidate in candidates}
        self._num_open = [num_candidates] * (len(candidates) // num_candidates)

    def select(self, events: Iterable[Event]) -> list[Event]:
        """What can be said now, numbered by kept choices."""
        return [said for event in events for said in self._select(event)]

    def _select(self, event: Event) -> list[Event]:
        prompt, candidate = divmod(event.index, self._num_candidates)
        if isinstance(event, Started | Prefilled):  # the same for all
            is_kept = candidate < self._num_kept
            return [replace(event, index=prompt * self._num_kept + candidate)] if is_kept else []
        self._held[event.index].append(event)
        if isinstance(event, Finished):
            self._num_open[prompt] -= 1
            if self._num_open[prompt] == 0:
                return self._best(prompt)
        return []

    def _best(self, prompt: int) -> list[Event]:
        first = prompt * self._num_candidates
        candidates = self._candidates[first : first + self._num_candidates]
        ranked = sorted(candidates, key=lambda candidate: candidate.mean_logprob, reverse=True)[: self._num_kept]
        return [
            replace(event, index=prompt * self._num_kept + rank)
            for rank, candidate in enumerate(ranked)
            for event in self._held[candidate.index]
        ]
