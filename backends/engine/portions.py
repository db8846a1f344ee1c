"""How the tokens of a step are shared out among those who run: chunks of prompts, and decodes.

Prompts that are nearly done may go before an older, longer one, with half of the tokens at most; so the oldest always
advances. While somebody types, a step is cut in pieces, and the decodes are the last of them: so a keystroke waits for
a piece of a step, not for a whole one, and nobody's tokens come slower.

On a device that pads its prefills, the short end of a prompt goes through the decodes, a token a step: a prefill of
ten tokens would stop everybody for as long as one of 128 does.

Takes nothing from anyone, and knows nothing of places or blocks.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass
from operator import attrgetter

from backends.engine.runner import Traits
from backends.engine.sequence import Sequence
from backends.request import Intent

TYPING_PLANS = 200
"""So long after a completion another one is expected: somebody is typing."""

NUM_PIECES = 4
"""Of a step, while somebody types."""

TYPED_STEPS = 2
"""While others have prompts as well, completions' may take so many whole steps before one of theirs has a piece; and
short ones before the oldest of them has one."""

_by_age = attrgetter("number")
by_need = attrgetter("intent", "num_pending")
"""In what order prompts are evaluated, the oldest apart."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """The next num_tokens tokens of a sequence that is being prefilled. is_last: then its next token can be sampled."""

    sequence: Sequence
    num_tokens: int
    is_last: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """What one step runs. No sequence is in both. postpones_decodes: to a later step, also of those whose prompts end
    here."""

    chunks: list[Chunk]
    decodes: list[Sequence]
    postpones_decodes: bool = False


def oldest(running: Iterable[Sequence]) -> Sequence:
    """Of those by rank. A client may prefer a younger one of its own."""
    firsts: dict[tuple[Intent, str], Sequence] = {}
    for sequence in running:
        firsts.setdefault((sequence.intent, sequence.client), sequence)
    return min(firsts.values(), key=_by_age)


class Portions:
    """step_tokens: the most tokens that a step evaluates; but a waiting prompt always gets one block. traits: what the
    runner can do: on a device that pads its prefills their whole lengths count, and decodes, which run apart, don't."""

    def __init__(self, traits: Traits, *, step_tokens: int, block_size: int) -> None:
        self._traits = traits
        self._block_size = block_size
        self._least = traits.padding.padded(block_size)
        self._step_tokens = max(step_tokens, self._least)
        self._num_plans = 0
        self._typing_until = 0  # in plans
        self._room = self._step_tokens  # for prompts, before the next decode
        self._patience = TYPED_STEPS * self._step_tokens
        self._num_typed = 0  # tokens of completions' prompts since those of others had a piece
        self._num_past_oldest = 0  # the same since the oldest of them advanced

    def plan(self, running: SequenceOf[Sequence]) -> Plan:
        """running: by rank."""
        self._num_plans += 1
        if self._traits.padding.smallest:
            self._feed(running)
        prompts = [sequence for sequence in running if sequence.is_prefilling and sequence.prefix_from is None]
        decodes = [sequence for sequence in running if not sequence.is_prefilling]
        if running and running[0].intent is Intent.COMPLETION:
            self._typing_until = self._num_plans + TYPING_PLANS
        if self._num_plans < self._typing_until:
            return self._piece(prompts, decodes)
        num_beside = 0 if self._traits.padding.smallest else len(decodes)
        return Plan(self._share(prompts, self._step_tokens - num_beside), decodes)

    def _feed(self, running: SequenceOf[Sequence]) -> None:
        """Ends of prompts, of those for whom nobody sits waiting, that have no more tokens than others decode: these
        would lose a step or more each by a prefill, and the one spends a step for each of its tokens. Once it is fed, a
        sequence stays so: a prefill can't go on within a block."""
        num_decodes = sum(not sequence.is_prefilling for sequence in running)
        for sequence in running:
            if sequence.is_prefilling and sequence.num_pending <= num_decodes and _may_be_fed(sequence):
                sequence.is_prefilling, sequence.is_fed = False, True

    def _piece(self, prompts: list[Sequence], decodes: list[Sequence]) -> Plan:
        is_used_up = self._room < self._least
        if not prompts or is_used_up:
            self._room = self._step_tokens
        if decodes and (not prompts or is_used_up):
            return Plan([], decodes)
        chunks = self._next_chunks(prompts)
        self._room -= self._size(chunks)
        return Plan(chunks, [], postpones_decodes=bool(decodes))

    def _next_chunks(self, prompts: list[Sequence]) -> list[Chunk]:
        """Completions first; but where they took whole steps, the others have the first piece of the next."""
        typed = [sequence for sequence in prompts if sequence.intent is Intent.COMPLETION]
        others = prompts[len(typed) :]  # by rank
        if typed and not (others and self._num_typed >= self._patience):
            chunks = self._type(typed)
            self._num_typed += self._size(chunks)
            return chunks
        self._num_typed = 0
        return self._share(others, min(max(self._step_tokens // NUM_PIECES, self._least), self._room))

    def _type(self, typed: list[Sequence]) -> list[Chunk]:
        """The shortest first, and none is begun while one before it isn't done: to finish together is late for all. The
        oldest waits for no more than a few steps."""
        first = oldest(typed)
        is_due = self._num_past_oldest >= self._patience
        chunks: list[Chunk] = []
        room = self._room
        for sequence in sorted(typed, key=lambda each: (not (is_due and each is first), by_need(each))):
            chunk, room = self._fill([sequence], room)
            chunks += chunk
            if not chunk or not chunk[0].is_last:
                break
        chunks = chunks or self._share(typed, self._room)  # one that is evaluated whole, or not at all
        has_advanced = any(chunk.sequence is first for chunk in chunks)
        self._num_past_oldest = 0 if has_advanced else self._num_past_oldest + self._size(chunks)
        return chunks

    def _size(self, chunks: Iterable[Chunk]) -> int:
        """In tokens, padding included."""
        return sum(self._traits.padding.padded(chunk.num_tokens) for chunk in chunks)

    def _share(self, prompts: list[Sequence], budget: int) -> list[Chunk]:
        """Half is kept for the oldest; the others go by class and by what is left of them, so that a short one doesn't
        wait behind long ones. What they don't use is the oldest's too."""
        if not prompts:
            return []
        padded = self._traits.padding.padded
        budget = max(budget, self._least)
        first = oldest(prompts)
        others = sorted((sequence for sequence in prompts if sequence is not first), key=by_need)
        kept = min(padded(first.num_pending), max(budget // 2, self._least))
        chunks, room = self._fill(others, budget - kept)
        room += kept
        if not self._traits.resumes:
            room = max(room, padded(first.num_pending))  # it is evaluated whole, whatever that takes
        return self._fill([first], room)[0] + chunks

    def _fill(self, sequences: SequenceOf[Sequence], room: int) -> tuple[list[Chunk], int]:
        """Chunks for as many as fit, and the room that is left. Only a last chunk may end within a block."""
        padding = self._traits.padding
        chunks: list[Chunk] = []
        for sequence in sequences:
            pending = sequence.num_pending
            num_tokens = padding.fitting(pending, room, self._block_size)
            if num_tokens <= 0 or (num_tokens < pending and not self._traits.resumes):
                break
            chunks.append(Chunk(sequence, num_tokens, is_last=num_tokens == pending))
            room -= padding.padded(num_tokens)
        return chunks, room


def _may_be_fed(sequence: Sequence) -> bool:
    if sequence.intent < Intent.AGENT or sequence.prefix_from is not None:
        return False
    return not (sequence.needs_all_logits or sequence.wants_hidden_states)
