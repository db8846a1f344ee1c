"""One prompt and what is generated after it, as the scheduler sees it: tokens, progress, blocks, slot.

Bookkeeping only. Knows nothing of text, sampling, requests or time; written by the engine's thread alone.
"""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from backends.engine.blocks import ROOT, BlockHash, chain
from backends.engine.runner import Ints
from backends.request import Intent


class SequenceState(Enum):
    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"


@dataclass(slots=True, eq=False)
class Sequence:
    """prompt [n]: at least one token. max_tokens: the most that may be generated. intent, client, paid_by: how urgent,
    for whom and at whose expense, as in a GenerateRequest. priority: lower goes first, among the client's own.
    cache_root: prefixes are shared only with sequences that have the same.

    wants_all_logits: of every token of the prompt, which therefore can't be taken from the cache. wants_hidden_states:
    in place of any logits; such a one stays outside the cache. leader: the sequence of the same prompt that evaluates
    it; this one then takes its blocks. is_prefilling: its next tokens go through a prefill: the prompt, or after a
    preemption everything. is_fed: what was left of these goes through decodes, a token a step. num_computed: tokens
    whose keys and values are in the blocks. num_cached: how many of these came from the prefix cache when the sequence
    first ran. block_table: its blocks, in order. A sequence that waits and has blocks is paused. prefix_from: who is
    evaluating more of the same prefix; num_awaited: tokens of it. keeps_place_until: tokens that it generates before it
    gives its place up.

    Plain fields rather than properties: all of this is looked at for every sequence in every step.
    """

    prompt: Ints
    max_tokens: int
    block_size: int
    intent: Intent = Intent.CHAT
    client: str = ""
    paid_by: SequenceOf[str] = ()
    priority: int = 0
    uses_cache: bool = True
    cache_root: BlockHash = ROOT
    wants_all_logits: bool = False
    wants_hidden_states: bool = False
    leader: Sequence | None = None
    generated: list[int] = field(default_factory=list)
    state: SequenceState = SequenceState.WAITING
    number: int = 0  # the smaller, the older: since it came, or for an embedding since it was first given a place
    keeps_place_until: int = 0
    slot: int = -1
    is_prefilling: bool = True
    is_fed: bool = False
    num_tokens: int = field(init=False)
    num_computed: int = 0
    num_cached: int | None = None
    prefix_from: Sequence | None = None
    num_awaited: int = 0
    block_table: Ints = field(init=False)
    capacity: int = 0  # tokens that the blocks have room for
    _table: Ints = field(init=False)
    _hashes: list[BlockHash] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.num_tokens = len(self.prompt)
        self._table = np.zeros(self.blocks_for(max(self.max_num_tokens, self.num_tokens + 1)), np.int32)
        self.block_table = self._table[:0]

    @property
    def rank(self) -> tuple[int, int, int]:
        """The lower, the later it gives way."""
        return self.intent, self.priority, self.number

    @property
    def keeps_place(self) -> bool:
        return len(self.generated) < self.keeps_place_until

    @property
    def max_num_tokens(self) -> int:
        return len(self.prompt) + self.max_tokens

    @property
    def num_pending(self) -> int:
        """Tokens still to be evaluated before the next one can be sampled."""
        return self.num_tokens - self.num_computed

    @property
    def needs_all_logits(self) -> bool:
        """Of the tokens that are evaluated next."""
        return self.wants_all_logits and not self.generated

    @property
    def is_prompt_evaluated(self) -> bool:
        return bool(self.generated) or self.state is SequenceState.FINISHED

    def blocks_for(self, num_tokens: int) -> int:
        return -(-num_tokens // self.block_size)

    def tokens(self, start: int, stop: int) -> Ints:
        num_prompt = len(self.prompt)
        if stop <= num_prompt:
            return self.prompt[start:stop]
        tail = np.array(self.generated[max(0, start - num_prompt) : stop - num_prompt], np.int32)
        return tail if start >= num_prompt else np.concatenate((self.prompt[start:], tail))

    def token_at(self, position: int) -> int:
        num_prompt = len(self.prompt)
        return self.generated[position - num_prompt] if position >= num_prompt else int(self.prompt[position])

    def block_hashes(self, num_blocks: int) -> SequenceOf[BlockHash]:
        """Of the first num_blocks blocks, which the tokens fill."""
        size = self.block_size
        while len(self._hashes) < num_blocks:
            start = len(self._hashes) * size
            previous = self._hashes[-1] if self._hashes else self.cache_root
            self._hashes.append(chain(previous, self.tokens(start, start + size)))
        return self._hashes[:num_blocks]

    def num_common_blocks(self, other: Sequence, start: int, stop: int) -> int:
        """How many blocks of its first `stop` begin both, if the first `start` do."""
        stop = min(stop, other.num_tokens // other.block_size)
        ours, theirs = self.block_hashes(stop), other.block_hashes(stop)
        return next((i for i in range(start, stop) if ours[i] != theirs[i]), max(start, stop))

    def append(self, token_id: int) -> None:
        self.generated.append(token_id)
        self.num_tokens += 1

    def add_blocks(self, blocks: SequenceOf[int]) -> None:
        num_blocks = len(self.block_table) + len(blocks)
        self._table[len(self.block_table) : num_blocks] = blocks
        self.block_table = self._table[:num_blocks]
        self.capacity = num_blocks * self.block_size

    def drop_blocks(self) -> list[int]:
        """Forgets what was computed. Returns the blocks, now to be released."""
        blocks: list[int] = self.block_table.tolist()
        self.block_table = self._table[:0]
        self.capacity = 0
        self.num_computed = 0
        self.is_prefilling, self.is_fed = True, False
        return blocks
