"""Who runs in the next step: places in the batch and blocks of the KV cache, and who gives them up.

Who waits is served in the order of a fair queue. A few places are completions' for the asking, bulk gives its place to
anyone, and a client with more places than another one of its class shares them: who gives way is paused between two
steps, and keeps its blocks unless they run out. The oldest that runs never has to start again.

Pure: reads no clock, runs no model. Knows nothing of requests or text.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from operator import attrgetter

from backends.engine.blocks import BlockLeak, BlockManager, OutOfBlocks
from backends.engine.portions import Chunk, Plan, Portions, by_need, oldest
from backends.engine.runner import Traits
from backends.engine.sequence import Sequence, SequenceState
from backends.fair_queue import FairQueue
from backends.request import Intent

__all__ = ["Chunk", "Plan", "Scheduler"]

DUE_TOKENS = 16
"""Whose class was due generates so many before it gives way to anyone: being served must get it somewhere."""

RUN = 4
"""Blocks that a decoding sequence is given at once while there are plenty: lying together, they are read faster."""

_by_rank = attrgetter("rank")
_own_order = attrgetter("priority", "number")


class Scheduler:
    """step_tokens: the most tokens that a step evaluates; but a waiting prompt always gets one block. traits: what the
    runner can do. completion_slots: places that are completions' for the asking; None: every eighth of the batch."""

    def __init__(
        self,
        blocks: BlockManager,
        *,
        block_size: int,
        max_batch_size: int,
        step_tokens: int,
        completion_slots: int | None = None,
        traits: Traits | None = None,
    ) -> None:
        self.blocks = blocks
        self.block_size = block_size
        self.traits = traits or Traits()
        self.completion_slots = max(1, max_batch_size // 8) if completion_slots is None else completion_slots
        self.running: list[Sequence] = []
        self.slots: list[Sequence | None] = [None] * max_batch_size
        self._queue: FairQueue[Sequence] = FairQueue(_own_order)
        self._followers: list[Sequence] = []  # wait for their leader: its blocks are on the way
        self._paused: list[Sequence] = []  # wait in the queue, and have their blocks still
        self._portions = Portions(self.traits, step_tokens=step_tokens, block_size=block_size)
        self._num_counted = 0

    @property
    def is_idle(self) -> bool:
        return not self.running and not self._queue and not self._followers

    @property
    def waiting(self) -> list[Sequence]:
        """As they will be served, if nobody else comes."""
        return [*self._queue.order(), *self._followers]

    def add(self, sequence: Sequence) -> None:
        """Raises OutOfBlocks when all blocks together couldn't hold the sequence: it would wait for ever."""
        if sequence.blocks_for(sequence.max_num_tokens) > self.blocks.num_blocks:
            raise OutOfBlocks
        self._count(sequence)
        if sequence.leader is None:
            self._queue.enter(sequence, sequence.intent, sequence.client)
        else:
            self._followers.append(sequence)

    def _count(self, sequence: Sequence) -> None:
        sequence.number = self._num_counted
        self._num_counted += 1

    def remove(self, sequence: Sequence) -> None:
        """It is finished, cancelled or failed, wherever it is; its blocks are released. Safe to call twice."""
        if sequence.state is SequenceState.FINISHED:
            return
        if sequence in self._followers:
            self._followers.remove(sequence)
        else:
            self._queue.leave(sequence)
        if sequence.state is SequenceState.RUNNING:
            self._vacate(sequence)
        self._release(sequence)
        sequence.state = SequenceState.FINISHED

    def schedule(self) -> Plan:
        self._call_followers()
        self._make_room()
        self._admit()
        self._take_prefixes()
        return self._portions.plan(self.running)

    def advance(self, sequence: Sequence, num_tokens: int) -> None:
        """So many more tokens are really in the sequence's blocks: those that they fill may now be shared."""
        paid_by = tuple(sequence.paid_by) if sequence.paid_by else ()  # another thread changes it
        self._queue.charge(sequence, num_tokens, paid_by)
        num_before = sequence.num_computed
        sequence.num_computed += num_tokens
        if sequence.num_computed == sequence.num_tokens:
            sequence.is_prefilling = sequence.is_fed = False
        num_known, num_full = num_before // self.block_size, sequence.num_computed // self.block_size
        if num_full > num_known and sequence.uses_cache:
            hashes = sequence.block_hashes(num_full)
            for i in range(num_known, num_full):
                self.blocks.remember(int(sequence.block_table[i]), hashes[i])

    def check(self) -> None:
        """Raises BlockLeak unless the blocks balance, and every owned one belongs to a sequence."""
        self.blocks.check()
        owned = {block for each in (*self.running, *self._paused) for block in each.block_table.tolist()}
        if len(owned) != self.blocks.num_owned:
            raise BlockLeak(f"{self.blocks.num_owned - len(owned)} blocks are owned by no sequence")

    # blocks

    def _take_prefixes(self) -> None:
        """Those whose prefix has been evaluated by somebody else, or won't be, open their blocks once more."""
        for sequence in [each for each in self.running if each.prefix_from is not None and not _is_coming(each)]:
            self._release(sequence)
            sequence.num_cached = None
            self._open(sequence)  # it needs no more blocks than it has just given back

    def _make_room(self) -> None:
        """A block for the newest token of every sequence that decodes, if need be from those who give way first."""
        needy = [each for each in self.running if each.num_tokens > each.capacity]  # none that prefills is
        for sequence in needy:
            while sequence.state is SequenceState.RUNNING and sequence.num_tokens > sequence.capacity:
                try:
                    sequence.add_blocks(self.blocks.allocate(self._num_to_grow(sequence)))
                except OutOfBlocks:
                    if not self._reclaim():
                        self._preempt(self._last_in_rank())

    def _num_to_grow(self, sequence: Sequence) -> int:
        if self.blocks.num_free <= RUN * len(self.slots):
            return 1
        return min(RUN, sequence.blocks_for(sequence.max_num_tokens) - len(sequence.block_table))

    def _last_in_rank(self) -> Sequence:
        """Never the oldest, unless it is alone: it would be computed again and again."""
        first = oldest(self.running)
        return next((each for each in reversed(self.running) if each is not first and not each.keeps_place), first)

    def _reclaim(self) -> bool:
        """The blocks of a paused sequence; all that isn't still cached will be computed again. Was there one?"""
        if self._paused:
            self._release(max(self._paused, key=_by_rank))
            return True
        return False

    def _preempt(self, sequence: Sequence) -> None:
        self._pause(sequence)
        self._release(sequence)

    def _release(self, sequence: Sequence) -> None:
        self.blocks.release(sequence.drop_blocks())
        if sequence in self._paused:
            self._paused.remove(sequence)

    # places

    def _pause(self, sequence: Sequence) -> None:
        """Back to the queue, in its old place, with its blocks."""
        self._vacate(sequence)
        sequence.state = SequenceState.WAITING
        self._paused.append(sequence)
        self._queue.put_back(sequence)

    def _vacate(self, sequence: Sequence) -> None:
        self.running.remove(sequence)
        self.slots[sequence.slot] = None
        sequence.slot = -1

    def _call_followers(self) -> None:
        for sequence in self._followers.copy():
            if sequence.leader is None or sequence.leader.is_prompt_evaluated:
                self._followers.remove(sequence)
                self._queue.enter(sequence, sequence.intent, sequence.client)

    def _admit(self) -> None:
        """As long as there are places and blocks. Nobody overtakes one who lacks blocks, but completions those of other
        classes."""
        while (sequence := self._queue.head_of(Intent.COMPLETION)) is not None:
            if self._num_kept() == 0 or not self._seat(sequence, yielding=Intent.CHAT):
                break
        while (sequence := self._queue.head()) is not None:
            is_due = self._queue.due is not None
            if not self._seat(sequence, yielding=Intent.BULK):
                return
            if is_due:
                sequence.keeps_place_until = len(sequence.generated) + DUE_TOKENS

    def _num_kept(self) -> int:
        """Places that completions may still ask for. Where that is all places, those who are due come first."""
        if self.completion_slots >= len(self.slots) and self._queue.due is not None:
            return 0
        return self.completion_slots - sum(each.intent is Intent.COMPLETION for each in self.running)

    def _seat(self, sequence: Sequence, *, yielding: Intent) -> bool:
        """Gives it a place and its blocks. yielding: the most urgent class that may be asked to give way to it. False:
        it has to wait."""
        if self._is_full and self._who_makes_way(sequence, yielding) is None:
            return False
        while not sequence.capacity:
            try:
                self._open(sequence)
            except OutOfBlocks:
                loser = self._who_yields(sequence, yielding)
                if not self._reclaim():
                    if loser is None:
                        return False
                    self._preempt(loser)
        if self._is_full and (loser := self._who_makes_way(sequence, yielding)) is not None:
            self._pause(loser)
        self._enter(sequence)
        return True

    @property
    def _is_full(self) -> bool:
        return len(self.running) == len(self.slots)

    def _who_makes_way(self, sequence: Sequence, yielding: Intent) -> Sequence | None:
        return self._who_yields(sequence, yielding) or self._who_shares(sequence)

    def _who_shares(self, sequence: Sequence) -> Sequence | None:
        """The youngest of the client that has most places of this class, if it has two more than this one's: a place
        that changes hands makes them more equal, and so never changes back. What is embedded is soon done: it keeps its
        own, and who comes next is the queue's affair alone."""
        peers = [each for each in self.running if each.intent is sequence.intent]
        num_places = Counter([each.client for each in peers])
        most = num_places[sequence.client] + 1
        if max(num_places.values(), default=0) <= most:  # as in most steps
            return None
        losers = [
            each
            for each in peers
            if num_places[each.client] > most and not (each.keeps_place or each.wants_hidden_states)
        ]
        return max(losers, key=lambda each: (num_places[each.client], each.rank), default=None)

    def _who_yields(self, sequence: Sequence, yielding: Intent) -> Sequence | None:
        least = max(yielding, sequence.intent + 1)
        return next((each for each in reversed(self.running) if each.intent >= least and not each.keeps_place), None)

    def _open(self, sequence: Sequence) -> None:
        """Blocks for all its tokens and one that follows, so that it isn't preempted as soon as it decodes."""
        may_share = self.traits.shares_blocks and sequence.uses_cache
        may_share = may_share and not sequence.needs_all_logits
        num_shareable = (sequence.num_tokens - 1) // self.block_size if may_share else 0  # the last is always computed
        num_blocks = sequence.blocks_for(min(sequence.num_tokens + 1, sequence.max_num_tokens))
        blocks, num_shared = self.blocks.open(sequence.block_hashes(num_shareable), num_blocks)
        sequence.add_blocks(blocks)
        sequence.num_computed = num_shared * self.block_size
        sequence.prefix_from = None
        if may_share:
            self._await_prefix(sequence, num_shared, num_shareable)
        if sequence.num_cached is None:
            sequence.num_cached = sequence.num_computed
            if sequence.wants_hidden_states:  # many came at once: the device's tokens go by the order of their places
                self._count(sequence)

    def _await_prefix(self, sequence: Sequence, num_shared: int, num_shareable: int) -> None:
        """Of prompts that begin alike and come together, one evaluates what they share: it is older and no longer, and
        so evaluated before them or beside them. num_shared, num_shareable: in blocks. SGLang holds such requests back
        in its queue (python/sglang/srt/managers/schedule_policy.py)."""
        for other in self.running:
            is_ahead = other.number < sequence.number and by_need(other) <= by_need(sequence)
            if is_ahead and other.is_prefilling and other.uses_cache and other.prefix_from is None:
                num_common = sequence.num_common_blocks(other, num_shared, num_shareable)
                if num_common > num_shared:
                    num_shared = num_common
                    sequence.prefix_from, sequence.num_awaited = other, num_common * self.block_size

    def _enter(self, sequence: Sequence) -> None:
        self._queue.take(sequence)
        if sequence in self._paused:
            self._paused.remove(sequence)
        insort(self.running, sequence, key=_by_rank)
        sequence.slot = self.slots.index(None)
        self.slots[sequence.slot] = sequence
        sequence.state = SequenceState.RUNNING


def _is_coming(sequence: Sequence) -> bool:
    """Is the prefix that it waits for still being evaluated?"""
    other = sequence.prefix_from
    if other is None or other.state is not SequenceState.RUNNING:
        return False
    return other.is_prefilling and other.num_computed < sequence.num_awaited
