"""Repetition, presence and frequency penalties: tokens that came already get lower logits.

As in llama.cpp (src/llama-sampling.cpp, penalties) and vLLM (vllm/model_executor/layers/utils.py, apply_penalties):
a positive logit is divided by the repetition penalty (CTRL, arXiv:1909.05858), another multiplied by it; then comes off
`frequency` for each time that the token came, and `presence` once. They differ in what counts, see TokenCounts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from backends.engine.resolved_sampling import ResolvedSampling
from backends.engine.runner import Floats, Ints


class TokenCounts:
    """How often each token came in the last `window` tokens of prompt and answer (-1: in all of them).

    Repetition looks at both. Presence and frequency look at the answer alone (OpenAI, vLLM), or with count_prompt at
    both too (llama.cpp). Kept up token by token: nothing is counted again in a step.
    """

    def __init__(self, prompt: Ints, window: int, count_prompt: bool) -> None:
        kept = prompt[max(0, len(prompt) - window) :] if window >= 0 else prompt
        tokens, counts = np.unique(kept, return_counts=True)
        self._place: dict[int, int] = {token: place for place, token in enumerate(tokens.tolist())}
        self._tokens = tokens.astype(np.int64)
        self._seen = dict(zip(self._place, counts.tolist(), strict=True))
        self._counted = counts.astype(np.float32) * count_prompt
        self._count_prompt = count_prompt
        self._window = window
        self._recent: deque[int] = deque(kept.tolist() if window >= 0 else ())
        self._num_prompt = len(kept)  # how many of the oldest in the window are the prompt's

    @property
    def tokens(self) -> npt.NDArray[np.int64]:
        """[n]: all that are in the window, each once."""
        return self._tokens[: len(self._place)]

    @property
    def counted(self) -> Floats:
        """[n]: how often each came, as presence and frequency count it."""
        return self._counted[: len(self._place)]

    def accept(self, token_id: int) -> None:
        place = self._place.setdefault(token_id, len(self._place))
        if place == len(self._tokens):
            self._grow()
        self._tokens[place] = token_id
        self._counted[place] += 1
        self._seen[token_id] = self._seen.get(token_id, 0) + 1
        if self._window >= 0:
            self._recent.append(token_id)
            if len(self._recent) > self._window:
                self._forget_oldest()

    def _forget_oldest(self) -> None:
        token_id = self._recent.popleft()
        place = self._place[token_id]
        if self._count_prompt or self._num_prompt == 0:
            self._counted[place] -= 1
        self._num_prompt = max(0, self._num_prompt - 1)
        self._seen[token_id] -= 1
        if self._seen[token_id] == 0:
            self._remove(token_id)

    def _remove(self, token_id: int) -> None:
        """The last token takes its place."""
        del self._seen[token_id]
        place, last = self._place.pop(token_id), len(self._place)
        if place != last:
            self._place[int(self._tokens[last])] = place
        self._tokens[place] = self._tokens[last]
        self._counted[place] = self._counted[last]
        self._counted[last] = 0

    def _grow(self) -> None:
        more = max(64, len(self._tokens))
        self._tokens = np.concatenate((self._tokens, np.zeros(more, np.int64)))
        self._counted = np.concatenate((self._counted, np.zeros(more, np.float32)))


@dataclass(frozen=True, slots=True)
class Penalized:
    """row: of the logits."""

    row: int
    counts: TokenCounts
    sampling: ResolvedSampling


def penalize(logits: Floats, rows: Sequence[Penalized]) -> None:
    """Lower the logits [B, V] of these rows, in place; all of them at once."""
    lengths = [len(each.counts.tokens) for each in rows]

    def spread(values: Iterable[float]) -> Floats:
        return np.repeat(np.array([*values], np.float32), lengths)

    places = np.concatenate([each.counts.tokens + each.row * logits.shape[1] for each in rows])
    counted = np.concatenate([each.counts.counted for each in rows])
    repetition = spread(each.sampling.repetition_penalty for each in rows)
    values = logits.reshape(-1)[places]
    values = np.where(values > 0, values / repetition, values * repetition)
    values -= counted * spread(each.sampling.frequency_penalty for each in rows)
    values -= (counted > 0) * spread(each.sampling.presence_penalty for each in rows)
    logits.reshape(-1)[places] = values
