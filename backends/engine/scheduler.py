"""Who runs in the next step, and with how many tokens: continuous batching with chunked prefill.

The order is by rank: by priority, and within one by age. A sequence never gives way to one of lower rank, so the first
always advances, and nobody starves but for those of a higher priority. Within a step, prompts that are nearly done may
go before an older, longer one, with half of the tokens at most.

Pure: reads no clock, runs no model. Knows nothing of requests or text.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass
from operator import attrgetter

from backends.engine.blocks import BlockLeak, BlockManager, OutOfBlocks
from backends.engine.runner import Traits
from backends.engine.sequence import Sequence, SequenceState

_by_rank = attrgetter("rank")
_by_pending = attrgetter("num_pending")


@dataclass(frozen=True, slots=True)
class Chunk:
    """The next num_tokens tokens of a sequence that is being prefilled. is_last: then its next token can be sampled."""

    sequence: Sequence
    num_tokens: int
    is_last: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """What one step runs. No sequence is in both."""

    chunks: list[Chunk]
    decodes: list[Sequence]


class Scheduler:
    """step_tokens: the most tokens that a step evaluates; but a waiting prompt always gets one block. traits: what the
    runner can do: on a device that pads its prefills their whole lengths count, and decodes, which run apart, don't."""

    def __init__(
        self,
        blocks: BlockManager,
        *,
        block_size: int,
        max_batch_size: int,
        step_tokens: int,
        traits: Traits | None = None,
    ) -> None:
        self.blocks = blocks
        self.block_size = block_size
        self.step_tokens = step_tokens
        self.traits = traits or Traits()
        self.waiting: list[Sequence] = []
        self.running: list[Sequence] = []
        self.slots: list[Sequence | None] = [None] * max_batch_size
        self._num_added = 0

    @property
    def is_idle(self) -> bool:
        return not self.waiting and not self.running

    def add(self, sequence: Sequence) -> None:
        """Raises OutOfBlocks when all blocks together couldn't hold the sequence: it would wait for ever."""
        if sequence.blocks_for(sequence.max_num_tokens) > self.blocks.num_blocks:
            raise OutOfBlocks
        sequence.number = self._num_added
        self._num_added += 1
        insort(self.waiting, sequence, key=_by_rank)

    def remove(self, sequence: Sequence) -> None:
        """It is finished, cancelled or failed, wherever it is; its blocks are released. Safe to call twice."""
        match sequence.state:
            case SequenceState.WAITING:
                self.waiting.remove(sequence)
            case SequenceState.RUNNING:
                self._vacate(sequence)
            case SequenceState.FINISHED:
                pass
        sequence.state = SequenceState.FINISHED

    def schedule(self) -> Plan:
        self._make_room()
        self._admit()
        decodes = [sequence for sequence in self.running if not sequence.is_prefilling]
        num_beside = 0 if self.traits.padding.smallest else len(decodes)
        return Plan(self._share(self.step_tokens - num_beside), decodes)

    def advance(self, sequence: Sequence, num_tokens: int) -> None:
        """So many more tokens are really in the sequence's blocks: those that they fill may now be shared."""
        num_full = sequence.num_computed // self.block_size
        sequence.num_computed += num_tokens
        sequence.is_prefilling = sequence.num_pending > 0
        num_full_now = sequence.num_computed // self.block_size
        if num_full_now > num_full and sequence.uses_cache:
            hashes = sequence.block_hashes(num_full_now)
            for i in range(num_full, num_full_now):
                self.blocks.remember(int(sequence.block_table[i]), hashes[i])

    def check(self) -> None:
        """Raises BlockLeak unless the blocks balance, and every owned one belongs to a running sequence."""
        self.blocks.check()
        owned = {block for sequence in self.running for block in sequence.block_table.tolist()}
        if len(owned) != self.blocks.num_owned:
            raise BlockLeak(f"{self.blocks.num_owned - len(owned)} blocks are owned by no sequence")

    def _make_room(self) -> None:
        """A block for the newest token of every sequence that decodes, if need be from those of the lowest rank."""
        needy = [each for each in self.running if each.num_tokens > each.capacity]  # none that prefills is
        for sequence in needy:
            while sequence.state is SequenceState.RUNNING and sequence.num_tokens > sequence.capacity:
                try:
                    sequence.add_blocks(self.blocks.allocate(1))
                except OutOfBlocks:
                    self._preempt(self.running[-1])

    def _preempt(self, sequence: Sequence) -> None:
        """Back to the queue, in its old place; all that isn't still cached will be computed again."""
        self._vacate(sequence)
        sequence.state = SequenceState.WAITING
        insort(self.waiting, sequence, key=_by_rank)

    def _vacate(self, sequence: Sequence) -> None:
        self.blocks.release(sequence.drop_blocks())
        self.running.remove(sequence)
        self.slots[sequence.slot] = None
        sequence.slot = -1

    def _admit(self) -> None:
        """From the head of the queue, as long as there are places and blocks. Nobody overtakes one who lacks blocks;
        only those who wait for their leader are passed over, since their blocks are on the way."""
        for sequence in self.waiting.copy():
            if len(self.running) == len(self.slots):
                return
            if sequence.leader is not None and not sequence.leader.is_prompt_evaluated:
                continue
            try:
                self._open(sequence)
            except OutOfBlocks:
                return

    def _open(self, sequence: Sequence) -> None:
        """Blocks for all its tokens and one more, so that it isn't preempted as soon as it decodes."""
        may_share = self.traits.shares_blocks and sequence.uses_cache
        may_share = may_share and not (sequence.wants_all_logits and not sequence.generated)
        num_shareable = (sequence.num_tokens - 1) // self.block_size if may_share else 0  # the last is always computed
        num_blocks = sequence.blocks_for(sequence.num_tokens + 1)
        blocks, num_shared = self.blocks.open(sequence.block_hashes(num_shareable), num_blocks)
        sequence.add_blocks(blocks)
        sequence.num_computed = num_shared * self.block_size
        if sequence.num_cached is None:
            sequence.num_cached = sequence.num_computed
        self.waiting.remove(sequence)
        insort(self.running, sequence, key=_by_rank)
        sequence.slot = self.slots.index(None)
        self.slots[sequence.slot] = sequence
        sequence.state = SequenceState.RUNNING

    def _share(self, budget: int) -> list[Chunk]:
        """Half is kept for the first prompt; the others go by what is left of them, so that a short one doesn't wait
        behind long ones. What they don't use is the first one's too."""
        pending = [sequence for sequence in self.running if sequence.is_prefilling]
        if not pending:
            return []
        padded = self.traits.padding.padded
        least = padded(self.block_size)
        budget = max(budget, least)
        first, others = pending[0], sorted(pending[1:], key=_by_pending)
        kept = min(padded(first.num_pending), max(budget // 2, least))
        chunks, room = self._fill(others, budget - kept)
        room += kept
        if not self.traits.resumes:
            room = max(room, padded(first.num_pending))  # it is evaluated whole, whatever that takes
        return self._fill([first], room)[0] + chunks

    def _fill(self, sequences: SequenceOf[Sequence], room: int) -> tuple[list[Chunk], int]:
        """Chunks for as many as fit, and the room that is left. Only a last chunk may end within a block."""
        padding = self.traits.padding
        chunks: list[Chunk] = []
        for sequence in sequences:
            pending = sequence.num_pending
            num_tokens = padding.fitting(pending, room, self.block_size)
            if num_tokens == 0 or (num_tokens < pending and not self.traits.resumes):
                break
            chunks.append(Chunk(sequence, num_tokens, is_last=num_tokens == pending))
            room -= padding.padded(num_tokens)
        return chunks, room
