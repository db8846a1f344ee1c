"""What the engine needs of a model on a device. The engine knows nothing else of either.

The engine owns the paging: it says in which blocks a sequence's keys and values live; the runner only reads and writes
there. All calls come from the engine's one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

from backends.engine.padding import Padding

Ints: TypeAlias = npt.NDArray[np.int32]
Floats: TypeAlias = npt.NDArray[np.float32]

SamplingPlace: TypeAlias = Literal["host", "auto", "device"]
"""Where tokens are chosen. host: never on the device. auto: there, where it gives exactly what is asked for.
device: there, if need be with what it can."""


@dataclass(frozen=True, slots=True)
class PrefillRow:
    """A chunk of one sequence's prompt.

    tokens [n]: the chunk. start: how many of the sequence's tokens are in the cache already (a multiple of the block
    size). block_table: the sequence's blocks in order, covering at least start + n tokens. slot: its row in the batch.
    all_logits: the logits of every token of the chunk are wanted, not of the last alone. hidden_states: no logits are
    wanted, but every token's last hidden state, after the final norm.
    """

    tokens: Ints
    start: int
    block_table: Ints
    slot: int
    all_logits: bool = False
    hidden_states: bool = False


@dataclass(frozen=True, slots=True)
class DeviceSampling:
    """How a token is chosen where the logits are: the top_k likeliest at this temperature, of these the likeliest that
    make up top_p. temperature 0: the likeliest of all."""

    temperature: float
    top_k: int
    top_p: float


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a decode of B sequences brought: logits [B, vocab_size], or tokens [B] that the device chose itself."""

    logits: Floats | None = None
    tokens: Ints | None = None


Say: TypeAlias = Callable[[str], None]
"""Told what is being done while a model loads, in a few words."""

Launched: TypeAlias = Callable[[], Decoded]
"""A decode under way; calling it waits for the end. Called once, before anything else is asked of the runner."""


@dataclass(frozen=True, slots=True)
class Traits:
    """How a runner differs from one that computes in the engine's thread and can do everything.

    is_asynchronous: a device computes after `launch` has returned; what the engine does until it reads costs no time.
    padding: what a prefill really evaluates. resumes: a prefill may start behind tokens that are in the cache.
    shares_blocks: a block may serve several sequences. sampling: may it choose tokens itself? See device_sampling.py.
    gives_all_logits: of every token of a prompt. gives_hidden_states: of a prompt.
    """

    is_asynchronous: bool = False
    padding: Padding = field(default_factory=Padding)
    resumes: bool = True
    shares_blocks: bool = True
    sampling: SamplingPlace = "host"
    gives_all_logits: bool = True
    gives_hidden_states: bool = True


class ModelRunner(Protocol):
    """window: the most tokens that a sequence may have. max_batch_size: the most sequences in a decode."""

    vocab_size: int
    window: int
    max_batch_size: int
    traits: Traits

    def allocate_kv(self, num_blocks: int, block_size: int) -> None:
        """Make room for num_blocks blocks of block_size tokens; called once, before anything is run."""
        ...

    def prefill(self, rows: Sequence[PrefillRow]) -> list[Floats]:
        """Evaluate the chunks; for each row its logits, [1, vocab_size] or (all_logits) [n, vocab_size], or its
        hidden_states [n, hidden_size]."""
        ...

    def launch(
        self,
        tokens: Ints,
        positions: Ints,
        block_tables: Sequence[Ints],
        slots: Sequence[int],
        samplings: Sequence[DeviceSampling] | None,
    ) -> Launched:
        """Begin one step for each of B sequences.

        tokens [B]: each sequence's newest token; positions [B]: where it goes, counted from 0. samplings: how the
        tokens that follow may be chosen on the device; None: the logits are needed.
        """
        ...

    def close(self) -> None:
        """Let go of the device. Safe to call twice."""
        ...


@runtime_checkable
class Interruptible(Protocol):
    """A ModelRunner that computes in the engine's thread, and can be kept from going on."""

    between_parts: Callable[[], None]
    """Called by it several times during each call. What this raises ends the call, of which nothing counts then: it
    will be made again, or another one that writes to the same places."""
