"""What the parts of a step hand to each other."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field

import numpy as np

from backends.engine.choice import Choice
from backends.engine.logprobs import Logprobs, logprobs
from backends.engine.runner import Floats, Ints, PrefillRow
from backends.engine.scheduler import Chunk
from backends.engine.sequence import Sequence


@dataclass(slots=True)
class Ready:
    """Sequences whose next token can be sampled, and arrays of their logits, one row each, in the same order; or, in
    place of these, the tokens that a device has chosen."""

    sequences: list[Sequence] = field(default_factory=list)
    logits: list[Floats] = field(default_factory=list)
    tokens: Ints | None = None

    def only(self, is_wanted: Callable[[Sequence], bool]) -> Ready:
        """Some of them, and their logits in one array."""
        wanted = [is_wanted(sequence) for sequence in self.sequences]
        kept = [sequence for sequence, is_in in zip(self.sequences, wanted, strict=True) if is_in]
        if self.tokens is not None:
            return Ready(kept, tokens=self.tokens[wanted])
        logits = self.logits[0] if len(self.logits) == 1 else np.concatenate(self.logits)
        return Ready(kept, [logits if all(wanted) else logits[wanted]])


@dataclass(slots=True)
class Sampled:
    """The next token of each choice, and its log-probabilities where they are wanted."""

    choices: SequenceOf[Choice] = ()
    tokens: SequenceOf[int] = ()
    logprobs: SequenceOf[Logprobs | None] = ()

    def split(self, is_first: Callable[[Choice], bool]) -> tuple[Sampled, Sampled]:
        """Of some of the choices, and of the others."""
        halves: tuple[list[int], list[int]] = ([], [])
        for place, choice in enumerate(self.choices):
            halves[0 if is_first(choice) else 1].append(place)
        first, second = (
            Sampled(
                [self.choices[place] for place in places],
                [self.tokens[place] for place in places],
                [self.logprobs[place] for place in places],
            )
            for places in halves
        )
        return first, second


def prefill_row(chunk: Chunk) -> PrefillRow:
    sequence = chunk.sequence
    start = sequence.num_computed
    tokens = sequence.tokens(start, start + chunk.num_tokens)
    all_logits, hidden_states = sequence.needs_all_logits, sequence.wants_hidden_states
    return PrefillRow(tokens, start, sequence.block_table, sequence.slot, all_logits, hidden_states)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whose log-probabilities are wanted of a step's choices, and their logits, before the sampler edits them."""

    choices: list[Choice]
    places: list[int]
    logits: Floats

    @classmethod
    def of(cls, choices: SequenceOf[Choice], logits: Floats) -> Wanted:
        places = [place for place, choice in enumerate(choices) if choice.wants_logprobs]
        return cls([choices[place] for place in places], places, logits[places] if places else logits[:0])

    def fill(self, tokens: Ints) -> list[Logprobs | None]:
        """For each of the step's tokens [B], its log-probabilities or None."""
        found: list[Logprobs | None] = [None] * len(tokens)
        if self.places:
            num_top = [choice.num_top_logprobs or 0 for choice in self.choices]
            for place, each in zip(self.places, logprobs(self.logits, tokens[self.places], num_top), strict=True):
                found[place] = each
        return found
