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


def prefill_row(chunk: Chunk) -> PrefillRow:
    sequence = chunk.sequence
    start = sequence.num_computed
    tokens = sequence.tokens(start, start + chunk.num_tokens)
    all_logits = sequence.wants_all_logits and not sequence.generated
    return PrefillRow(tokens, start, sequence.block_table, sequence.slot, all_logits)


def wanted_logprobs(choices: SequenceOf[Choice], logits: Floats, tokens: Ints) -> list[Logprobs | None]:
    """Of each choice's token, where the choice wants them."""
    found: list[Logprobs | None] = [None] * len(choices)
    wanted = [place for place, choice in enumerate(choices) if choice.wants_logprobs]
    if wanted:
        num_top = [choices[place].num_top_logprobs or 0 for place in wanted]
        for place, each in zip(wanted, logprobs(logits[wanted], tokens[wanted], num_top), strict=True):
            found[place] = each
    return found
