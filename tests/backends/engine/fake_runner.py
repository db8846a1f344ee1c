"""A ModelRunner whose next token depends on every token before it, as it finds them in its blocks.

So a wrong block, a lost or a doubled token changes everything that follows. It refuses calls that break the contract,
and fails or hangs when it is told to.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from zlib import crc32

import numpy as np
import numpy.typing as npt

from backends.engine.runner import Decoded, DeviceSampling, Floats, Ints, Launched, PrefillRow, Traits


class FakeRunner:
    """likes: a token that is made likelier, such as EOS. faults: raised by the next calls of that name, in order.

    calls: name and number of rows of each. num_closed: how often it was closed. between_parts: called between rows.
    """

    def __init__(self, vocab_size: int = 300, window: int = 256, max_batch_size: int = 8) -> None:
        self.vocab_size = vocab_size
        self.window = window
        self.max_batch_size = max_batch_size
        self.traits = Traits()
        self.likes: dict[int, float] = {}
        self.faults: dict[str, list[Exception]] = {"prefill": [], "decode": []}
        self._permits: threading.Semaphore | None = None
        self.calls: list[tuple[str, int]] = []
        self.num_closed = 0
        self.closed = threading.Event()
        self.between_parts: Callable[[], None] = lambda: None

    def hold(self, num_calls: int = 0) -> None:
        """So many more calls go through; then they hang."""
        self._permits = threading.Semaphore(num_calls)

    def let_go(self) -> None:
        """They go through again, also the one that hangs."""
        permits, self._permits = self._permits, None
        if permits is not None:
            permits.release()

    def allocate_kv(self, num_blocks: int, block_size: int) -> None:
        self._blocks = np.zeros((num_blocks, block_size), np.uint32)
        self._block_size = block_size

    def prefill(self, rows: Sequence[PrefillRow]) -> list[Floats]:
        self._begin("prefill", len(rows))
        return [self._prefill(row) for row in rows]

    def _prefill(self, row: PrefillRow) -> Floats:
        self.between_parts()
        assert row.start % self._block_size == 0
        assert len(row.tokens) > 0
        stop = row.start + len(row.tokens)
        for position, token in enumerate(row.tokens.tolist(), row.start):
            self._write(row.block_table, position, token)
        if row.hidden_states:
            digests = self._blocks[row.block_table].reshape(-1)[row.start : stop]
            return np.stack([row.tokens, digests], axis=1).astype(np.float32)
        first = row.start if row.all_logits else stop - 1
        return np.stack([self._logits(row.block_table, position) for position in range(first, stop)])

    def launch(
        self,
        tokens: Ints,
        positions: Ints,
        block_tables: Sequence[Ints],
        slots: Sequence[int],
        samplings: Sequence[DeviceSampling] | None,
    ) -> Launched:
        assert 0 < len(tokens) == len(set(slots)) <= self.max_batch_size
        assert all(0 <= slot < self.max_batch_size for slot in slots)
        return lambda: Decoded(self.decode(tokens, positions, block_tables))

    def decode(self, tokens: Ints, positions: Ints, block_tables: Sequence[Ints]) -> Floats:
        self._begin("decode", len(tokens))
        rows = list(zip(tokens.tolist(), positions.tolist(), block_tables, strict=True))
        for token, position, table in rows:
            self.between_parts()
            self._write(table, position, token)
        return np.stack([self._logits(table, position) for _, position, table in rows])

    def close(self) -> None:
        self.num_closed += 1
        self.closed.set()

    def _begin(self, name: str, num_rows: int) -> None:
        self.calls.append((name, num_rows))
        if self._permits is not None:
            self._permits.acquire()
        if self.faults[name]:
            raise self.faults[name].pop(0)

    def _write(self, table: Ints, position: int, token: int) -> None:
        """As keys and values do, what is written depends on everything before it."""
        written = self._blocks[table].reshape(-1)[:position]
        self._blocks[table[position // self._block_size], position % self._block_size] = _digest(written, token)

    def _logits(self, table: Ints, position: int) -> Floats:
        return self._logits_of(int(self._blocks[table[position // self._block_size], position % self._block_size]))

    def _logits_of(self, digest: int) -> Floats:
        logits = np.random.default_rng(digest).normal(size=self.vocab_size).astype(np.float32)
        for token, extra in self.likes.items():
            logits[token] += extra
        return logits

    def logits_after(self, tokens: Sequence[int]) -> Floats:
        """[vocab_size], of the token that follows these; without any blocks."""
        return self._logits_of(int(_digests(tokens)[-1]))

    def embedding_of(self, tokens: Sequence[int]) -> list[float]:
        """The mean of the hidden states, without any engine."""
        states = np.stack([tokens, _digests(tokens)], axis=1).astype(np.float32)
        mean: list[float] = states.mean(axis=0, dtype=np.float64).astype(np.float32).tolist()
        return mean

    def answer_to(self, prompt: Sequence[int], num_tokens: int) -> list[int]:
        """The likeliest tokens, without any engine."""
        tokens = [*prompt]
        for _ in range(num_tokens):
            tokens.append(int(self.logits_after(tokens).argmax()))
        return tokens[len(prompt) :]


def _digests(tokens: Sequence[int]) -> npt.NDArray[np.uint32]:
    written = np.zeros(len(tokens), np.uint32)
    for position, token in enumerate(tokens):
        written[position] = _digest(written[:position], token)
    return written


def _digest(before: npt.NDArray[np.uint32], token: int) -> int:
    return crc32(before.tobytes() + token.to_bytes(4, "little"))
