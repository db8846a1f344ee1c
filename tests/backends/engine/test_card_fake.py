"""The contract fake refuses what tt-metal's Generator refuses, or nothing that leans on it proves anything."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.backends.engine.fake_runner import FakeRunner
from tests.fakes.card import Card, fake_card

BATCH, WIDTH, BLOCK = 4, 4, 32


class Calls:
    """A Generator of a model in a batch of 4, and calls that are right but for what a test changes."""

    def __init__(self, card: Card) -> None:
        card.common.load_network = lambda *_: FakeRunner(window=128, max_batch_size=BATCH)
        self.array = card.torch.from_numpy
        mesh = card.ttnn.open_mesh_device(card.ttnn.MeshShape(1, 1), dispatch_core_config=None, trace_region_size=1)
        args, model, self.cache, _ = card.common.create_tt_model(
            mesh, True, BATCH, lambda args: SimpleNamespace(num_decoders=args.n_layers), 128,
            card.common.PagedAttentionConfig(BLOCK, 9),
        )  # fmt: skip
        self.generator = card.generator.Generator([model], [args], mesh)

    def ints(self, *shape: int, value: int = 0, dtype: Any = np.int32) -> Any:
        return self.array(np.full(shape, value, dtype))

    def prefill(self, **changes: Any) -> Any:
        return self.generator.prefill_forward_text(**{
            "tokens": self.ints(1, 40), "page_table": self.ints(1, WIDTH), "kv_cache": [self.cache],
            "prompt_lens": [40], "empty_slots": [0], "start_pos": [0], "warmup_prefill": False, **changes,
        })  # fmt: skip

    def decode(self, **changes: Any) -> Any:
        return self.generator.decode_forward(**{
            "tokens": self.ints(BATCH, 1), "start_pos": self.ints(BATCH, value=-1),
            "page_table": self.ints(BATCH, WIDTH), "kv_cache": [self.cache], **changes,
        })  # fmt: skip


@pytest.fixture
def calls(tmp_path: Path) -> Any:
    with fake_card(HF_MODEL=str(tmp_path)) as card:
        yield Calls(card)


def test_what_is_right_is_accepted(calls: Calls) -> None:
    assert calls.prefill().shape == (1, 1, 300)
    logits, _ = calls.decode()
    assert logits.shape == (BATCH, 1, 300)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        (lambda _: {"page_table": np.zeros((1, WIDTH), np.int32)}, AssertionError),
        (lambda calls: {"page_table": calls.ints(1, WIDTH, value=9)}, RuntimeError),
        (lambda calls: {"page_table": calls.ints(1, 1)}, RuntimeError),
        (lambda calls: {"tokens": calls.ints(1, 40, dtype=np.float32)}, RuntimeError),
        (lambda calls: {"tokens": calls.ints(1, 30)}, RuntimeError),
        (lambda _: {"prompt_lens": [40, 41]}, IndexError),
        (lambda calls: {"prompt_lens": [129], "tokens": calls.ints(1, 129)}, AssertionError),
        (lambda _: {"empty_slots": [4]}, IndexError),
        (lambda _: {"start_pos": [20]}, ValueError),
        (lambda calls: {"kv_cache": calls.cache}, TypeError),
    ],
    ids=["array", "page outside", "table too short", "floats", "tokens missing", "lengths", "too long", "slot", "start",
         "cache"],
)  # fmt: skip
def test_a_wrong_prefill_is_refused(calls: Calls, changes: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        calls.prefill(**changes(calls))


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        (lambda calls: {"tokens": calls.ints(3, 1), "start_pos": calls.ints(3)}, AssertionError),
        (lambda calls: {"start_pos": calls.ints(3)}, AssertionError),
        (lambda calls: {"page_table": calls.ints(3, WIDTH)}, RuntimeError),
        (lambda calls: {"start_pos": calls.ints(BATCH, value=128)}, RuntimeError),
        (lambda calls: {"start_pos": calls.ints(BATCH), "page_table": calls.ints(BATCH, WIDTH, value=9)}, RuntimeError),
        (lambda _: {"reload_inputs": True}, TypeError),
    ],
    ids=["batch", "positions", "table", "beyond the table", "page outside", "another version's"],
)
def test_a_wrong_decode_is_refused(calls: Calls, changes: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        calls.decode(**changes(calls))


def test_a_batch_that_isnt_full_is_refused_in_the_same_words(calls: Calls) -> None:
    with pytest.raises(AssertionError, match="Batch size 3 must be equal to max_batch_size 4"):
        calls.decode(tokens=calls.ints(3, 1), start_pos=calls.ints(3))


def test_a_trace_keeps_its_shape(calls: Calls) -> None:
    calls.decode()
    with pytest.raises(RuntimeError, match="same shape"):
        calls.decode(page_table=calls.ints(BATCH, WIDTH + 1))


def test_logits_cant_be_read_by_event(calls: Calls) -> None:
    output = calls.decode(read_from_device=False)
    with pytest.raises(AttributeError, match="cpu"):
        calls.generator.read_decode_output(output, async_read=True)


def test_the_newest_wants_its_commands(tmp_path: Path) -> None:
    with fake_card(HF_MODEL=str(tmp_path), FAKE_TT_METAL="contract-1") as card:
        calls = Calls(card)
        with pytest.raises(TypeError, match="reload_inputs"):
            calls.decode()
        commands = dict.fromkeys(("reload_page_table", "reload_sampling_params", "reset_sampling_state"), False)
        calls.decode(reload_inputs=True, **commands)
        with pytest.raises(ValueError, match="reload_page_table"):
            calls.decode(reload_inputs=True, **{**commands, "reload_page_table": True})
