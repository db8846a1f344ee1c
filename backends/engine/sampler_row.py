"""One sequence as the sampler sees it: its parameters, its random numbers and what they depend on of its history."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from backends.engine.dry import Breakers, DryState
from backends.engine.logit_bias import LogitBias
from backends.engine.mirostat import MirostatState
from backends.engine.penalties import TokenCounts
from backends.engine.resolved_sampling import ResolvedSampling
from backends.engine.runner import Ints

NUM_DRAWS = 64
"""Random numbers are drawn for so many tokens at once."""


class SamplerRow:
    """prompt [n]. seed: 0 or more; the same seed gives the same choices whoever else is in the batch, because the
    random numbers belong to the place in the answer: they are neither drawn nor moved on by sampling, only by accept.
    is_seeded: a client gave it. end_ids: tokens that may not come before min_tokens tokens did (with a number never
    reached: ignore EOS); a client may have named some that the model doesn't have.

    may_end: may one of end_ids come next? edits_logits: does anything, before a token is chosen? Both are plain fields:
    they are looked at for every sequence in every step.
    """

    def __init__(
        self,
        sampling: ResolvedSampling,
        prompt: Ints,
        seed: int,
        *,
        is_seeded: bool = False,
        bias: LogitBias | None = None,
        breakers: Breakers | None = None,
        end_ids: Sequence[int] = (),
        min_tokens: int = 0,
    ) -> None:
        self.sampling = sampling
        self.is_seeded = is_seeded
        self.method = sampling.method
        self.plan = sampling.plan
        self.bias = bias if bias is not None and len(bias.tokens) else None
        self.counts = (
            TokenCounts(prompt, sampling.penalty_window, sampling.penalize_prompt) if sampling.has_penalties else None
        )
        self.dry = DryState(sampling.dry, breakers or {}, prompt) if sampling.dry and sampling.has_dry else None
        self.mirostat = MirostatState(sampling.mirostat) if sampling.mirostat and self.method == "mirostat" else None
        self.end_ids = tuple(token_id for token_id in end_ids if token_id >= 0)
        self.num_generated = 0
        self._min_tokens = min_tokens if len(end_ids) else 0
        self._has_own_edits = not (self.bias is None and self.counts is None and self.dry is None)
        self.may_end = self._min_tokens <= 0
        self.edits_logits = self._has_own_edits or not self.may_end
        self._generator = np.random.Generator(np.random.PCG64(seed))
        self._draws: list[list[float]] = []
        self._draw_ahead()

    @property
    def uniform(self) -> float:
        """In [0, 1): chooses the next token."""
        return self._draws[self.num_generated % NUM_DRAWS][0]

    @property
    def chance(self) -> float:
        """In [0, 1): decides whether XTC applies to the next token."""
        return self._draws[self.num_generated % NUM_DRAWS][1]

    def accept(self, token_id: int) -> None:
        """The sequence goes on with this token, chosen here or not."""
        self.num_generated += 1
        if self.num_generated % NUM_DRAWS == 0:
            self._draw_ahead()
        if self.num_generated == self._min_tokens:
            self.may_end, self.edits_logits = True, self._has_own_edits
        if self.counts is not None:
            self.counts.accept(token_id)
        if self.dry is not None:
            self.dry.accept(token_id)
        if self.mirostat is not None:
            self.mirostat.accept(token_id)

    def _draw_ahead(self) -> None:
        self._draws = self._generator.random((NUM_DRAWS, 2)).tolist()
