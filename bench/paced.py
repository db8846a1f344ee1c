"""A ModelRunner that computes nothing and takes as long as a card does: to measure everything but the device.

Like tt-metal's Generator it is asynchronous, pads prefills and chooses plain tokens itself. What comes out is one
letter again and again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from backends.base import ModelInfo
from backends.engine.model_info import read_model_info
from backends.engine.options import EngineOptions
from backends.engine.padding import Padding
from backends.engine.runner import Decoded, DeviceSampling, Floats, Ints, Launched, PrefillRow, Say, Traits
from backends.engine.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Card:
    """prefill_s: of 128 tokens. decode_s: a step, of any batch."""

    name: str
    prefill_s: float
    decode_s: float


N150 = Card("Llama-3.1-8B on an N150", prefill_s=0.119, decode_s=1 / 22.3)
"""tt-metal models/tt_transformers/PERF.md of 2026-02-26: batch 32, 128 tokens of prompt each."""


class PacedRunner:
    """A backends.engine.runner.ModelRunner. num_tokens: that it evaluated, padding apart."""

    traits = Traits(is_asynchronous=True, padding=Padding(128, 1024), sampling="auto", gives_hidden_states=False)

    def __init__(self, card: Card, letter: int, vocab_size: int, window: int, max_batch_size: int) -> None:
        self.vocab_size = vocab_size
        self.window = window
        self.max_batch_size = max_batch_size
        self.num_tokens = 0
        self._busy_s = 0.0  # with all of what is under way
        self._busy_until = 0.0
        self._card = card
        self._tokens = np.full(max_batch_size, letter, np.int32)
        self._logits = np.zeros((max_batch_size, vocab_size), np.float32)
        self._logits[:, letter] = 100.0

    @property
    def busy_s(self) -> float:
        """How long the card would have computed until now, in seconds."""
        return self._busy_s - max(0.0, self._busy_until - time.perf_counter())

    def allocate_kv(self, num_blocks: int, block_size: int) -> None:
        """There is nothing to hold."""

    def prefill(self, rows: Sequence[PrefillRow]) -> list[Floats]:
        num_padded = sum(self.traits.padding.padded(len(row.tokens)) for row in rows)
        seconds = self._card.prefill_s * num_padded / 128
        self._spend(seconds, sum(len(row.tokens) for row in rows))
        time.sleep(seconds)
        return [self._logits[:1] for _ in rows]

    def launch(
        self,
        tokens: Ints,
        positions: Ints,
        block_tables: Sequence[Ints],
        slots: Sequence[int],
        samplings: Sequence[DeviceSampling] | None,
    ) -> Launched:
        ready_at = self._spend(self._card.decode_s, len(tokens))

        def read() -> Decoded:
            time.sleep(max(0.0, ready_at - time.perf_counter()))
            if samplings is None:
                return Decoded(logits=self._logits[: len(tokens)])
            return Decoded(tokens=self._tokens[: len(tokens)])

        return read

    def _spend(self, seconds: float, num_tokens: int) -> float:
        """From now on. Returns when that is over."""
        self._busy_s += seconds
        self._busy_until = time.perf_counter() + seconds
        self.num_tokens += num_tokens
        return self._busy_until

    def close(self) -> None: ...


def load_paced(options: EngineOptions, _say: Say, card: Card = N150) -> tuple[PacedRunner, ModelInfo]:
    """A backends.engine.loading.LoadRunner. The folder's tokenizer and sizes, but none of its weights."""
    info = read_model_info(options.folder)
    (letter,) = Tokenizer.load(options.folder).encode("a", add_special=False)
    return PacedRunner(card, letter, info.vocab_size, info.window, options.max_batch_size), info
