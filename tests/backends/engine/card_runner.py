"""A FakeRunner on a Tenstorrent card: behind the TtRunner and the contract fake of tt-metal, with small blocks."""

from __future__ import annotations

from collections.abc import Sequence

from backends.engine.runner import Floats, PrefillRow
from backends.engine.tt_mesh import Mesh
from backends.engine.tt_options import TtOptions
from backends.engine.tt_runner import TtRunner
from tests.backends.engine.fake_runner import FakeRunner
from tests.fakes.card import Card


class _Network(FakeRunner):
    def prefill(self, rows: Sequence[PrefillRow]) -> list[Floats]:
        if rows[0].slot >= 0:
            return super().prefill(rows)
        for row in rows:  # nobody's: what is written into a block by padding
            self._blocks[row.block_table] = 0xDEAD
        return []


class CardRunner(TtRunner):
    """What tests do to a FakeRunner, they do to the one behind this: likes, faults, calls, hold and so on."""

    def __init__(self, card: Card, vocab_size: int, window: int, max_batch_size: int) -> None:
        super().__init__(TtOptions(model="none", max_batch_size=max_batch_size, max_seq_len=window), lambda _: None)
        network = self.network = _Network(vocab_size, window, max_batch_size)
        card.common.load_network = lambda *_: network
        card.common.TILE = 1
        card.ttnn.MACHINE.mesh, Mesh._is_held = None, False  # that of a test before this may still be open
        self.faults, self.calls, self.closed = network.faults, network.calls, network.closed
        self.hold, self.let_go = network.hold, network.let_go
        self.answer_to, self.logits_after = network.answer_to, network.logits_after
        self.embedding_of = network.embedding_of

    @property
    def likes(self) -> dict[int, float]:
        return self.network.likes

    @likes.setter
    def likes(self, likes: dict[int, float]) -> None:
        self.network.likes = likes

    @property
    def num_closed(self) -> int:
        return self.network.num_closed

    def allocate_kv(self, num_blocks: int, block_size: int) -> None:
        self.open()
        super().allocate_kv(num_blocks, block_size)
        self.calls.clear()

    def close(self) -> None:
        super().close()
        self.network.close()
