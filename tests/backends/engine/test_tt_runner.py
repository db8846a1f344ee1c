"""The runner of a Tenstorrent card, on the contract fake: what it asks of the Generator, and what becomes of it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends.engine.numpy_runner import NumpyRunner
from backends.engine.options import EngineOptions
from backends.engine.runner import DeviceSampling, Ints, PrefillRow
from backends.engine.tt_options import TtOptions
from backends.engine.tt_runner import TtRunner, load_ttnn
from backends.errors import BackendFailed
from tests.backends.engine.random_model import write_random_model
from tests.fakes.card import HOME, Card, fake_card

BLOCK = 32
WINDOW = 512
VERSIONS = ["2025-07", "2026-02-04", "2026-02-26", "contract-1"]
GREEDY = DeviceSampling(0.0, 1, 1.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_random_model(tmp_path, window=WINDOW)
    return tmp_path


def options_for(folder: Path, **options: Any) -> TtOptions:
    return TtOptions(
        model=str(folder),
        **{"max_batch_size": 4, "max_seq_len": WINDOW, "tt_metal_home": HOME, **options},
    )


@contextmanager
def opened(folder: Path, card: Card, said: list[str] | None = None, **options: Any) -> Iterator[TtRunner]:
    said = [] if said is None else said
    runner, _ = load_ttnn(options_for(folder, **options), EngineOptions(folder), said.append)
    assert isinstance(runner, TtRunner)
    try:
        runner.allocate_kv(64, BLOCK)
        yield runner
    finally:
        runner.close()
        assert card.calls[-1] in ("close", "fabric DISABLED")


def recorded(runner: TtRunner) -> Any:
    """The fake Generator, which keeps note of what it was asked."""
    assert runner._generator is not None
    return runner._generator._generator


def table(*blocks: int) -> Ints:
    return np.array(blocks, np.int32)


def prompt(seed: int, length: int) -> Ints:
    return np.random.default_rng(seed).integers(0, 80, length).astype(np.int32)


def decode(
    runner: TtRunner, tokens: Sequence[int], positions: Sequence[int], tables: Sequence[Ints], slots: Sequence[int],
    samplings: Sequence[DeviceSampling] | None = None,
) -> Any:  # fmt: skip
    return runner.launch(np.array(tokens, np.int32), np.array(positions, np.int32), tables, slots, samplings)()


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_every_version_computes_what_the_model_does(folder: Path, version: str) -> None:
    reference = NumpyRunner.load(folder, 4)
    reference.allocate_kv(64, BLOCK)
    first, second = PrefillRow(prompt(1, 40), 0, table(3, 5), 2), PrefillRow(prompt(2, 7), 0, table(9), 0)
    with fake_card(FAKE_TT_METAL=version) as card, opened(folder, card) as runner:
        assert runner.vocab_size == 80
        found, expected = runner.prefill([first, second]), reference.prefill([first, second])
        np.testing.assert_allclose(np.concatenate(found), np.concatenate(expected), rtol=1e-5, atol=1e-6)
        arguments = np.array([5, 6], np.int32), np.array([40, 7], np.int32), [table(3, 5), table(9)]
        decoded = runner.launch(*arguments, [2, 0], None)()
        np.testing.assert_allclose(decoded.logits, reference.decode(*arguments), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("version", ["2026-02-04", "2026-02-26", "contract-1"])
def test_tokens_are_chosen_on_the_device_step_after_step(folder: Path, version: str) -> None:
    reference = NumpyRunner.load(folder, 4)
    reference.allocate_kv(64, BLOCK)
    row = PrefillRow(prompt(1, 30), 0, table(3, 5), 1)
    with fake_card(FAKE_TT_METAL=version) as card, opened(folder, card) as runner:
        token = int(runner.prefill([row])[0].argmax())
        assert token == int(reference.prefill([row])[0].argmax())
        for position in range(30, 40):
            (chosen,) = decode(runner, [token], [position], [row.block_table], [1], [GREEDY]).tokens
            where = np.array([token], np.int32), np.array([position], np.int32), [row.block_table]
            assert chosen == reference.decode(*where).argmax()
            token = int(chosen)


@pytest.mark.parametrize("version", ["2026-02-04", "2026-02-26", "contract-1"])
@pytest.mark.parametrize("samplings", [[[GREEDY]] * 6, [[GREEDY], [GREEDY], None, None, [GREEDY], None]])
def test_the_device_never_goes_on_with_tokens_of_its_own(
    folder: Path, version: str, samplings: list[list[DeviceSampling] | None]
) -> None:
    """Tokens of a prompt, or chosen on the host in between, come in their place while the page table stays the same."""
    reference = NumpyRunner.load(folder, 4)
    reference.allocate_kv(64, BLOCK)
    row, tokens = PrefillRow(prompt(1, 5), 0, table(3, 5), 1), prompt(2, 6).tolist()
    with fake_card(FAKE_TT_METAL=version) as card, opened(folder, card) as runner:
        for each in (runner, reference):
            each.prefill([row])
        for position, (token, sampling) in enumerate(zip(tokens, samplings, strict=True), 5):
            decoded = decode(runner, [token], [position], [row.block_table], [1], sampling)
            where = np.array([token], np.int32), np.array([position], np.int32), [row.block_table]
            found = decoded.tokens if sampling else decoded.logits.argmax(axis=1)
            assert found == reference.decode(*where).argmax()


def test_padding_is_written_where_nobody_reads(folder: Path) -> None:
    """The first blocks of all belong to a sequence; traced and resumed prefills of others write beyond their ends."""
    victim = PrefillRow(prompt(1, 30), 0, table(0), 0)
    with fake_card() as card, opened(folder, card) as runner:
        runner.prefill([victim])
        before = decode(runner, [5], [30], [table(0)], [0]).logits
        runner.prefill([PrefillRow(prompt(2, 10), 0, table(1), 1)])
        runner.prefill([PrefillRow(prompt(3, 64), 0, table(2, 3, 4), 2), PrefillRow(prompt(4, 9), 32, table(5, 6), 3)])
        after = decode(runner, [5], [30], [table(0)], [0]).logits
        np.testing.assert_array_equal(before, after)


def test_a_prompt_goes_on_behind_its_cached_beginning(folder: Path) -> None:
    whole, blocks = prompt(1, 90), table(7, 2, 4)
    with fake_card() as card, opened(folder, card) as runner:
        (expected,) = runner.prefill([PrefillRow(whole, 0, blocks, 0)])
        runner.prefill([PrefillRow(whole[:64], 0, blocks, 0)])
        (found,) = runner.prefill([PrefillRow(whole[64:], 64, blocks, 0)])
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_nothing_is_captured_after_the_warm_up(folder: Path, version: str) -> None:
    with fake_card(FAKE_TT_METAL=version) as card, opened(folder, card) as runner:
        captured = list(recorded(runner).captures)
        assert captured
        for length in (5, 128, 129, 400):
            runner.prefill([PrefillRow(prompt(1, length), 0, np.arange(16, dtype=np.int32), 0)])
            decode(runner, [1], [length], [np.arange(16, dtype=np.int32)], [0])
            if runner.traits.sampling != "host":
                decode(runner, [1], [length], [np.arange(16, dtype=np.int32)], [0], [GREEDY])
                decode(runner, [1], [length], [np.arange(16, dtype=np.int32)], [0], [DeviceSampling(0.8, 20, 0.9)])
        assert recorded(runner).captures == captured


@pytest.mark.parametrize(
    ("trace", "captured"),
    [
        ("all", ["prefill 128", "decode", "decode that samples"]),
        ("decode", ["decode", "decode that samples"]),
        ("none", []),
    ],
)
def test_what_is_captured_is_chosen(folder: Path, trace: str, captured: list[str]) -> None:
    with fake_card() as card, opened(folder, card, trace=trace) as runner:
        assert recorded(runner).captures == captured
        assert runner._mesh.device.trace_region_size == (0 if trace == "none" else 50_000_000)


def test_every_length_that_a_prompt_may_be_padded_to_is_compiled(folder: Path) -> None:
    with fake_card() as card, opened(folder, card) as runner:
        assert {padded for padded, _ in recorded(runner).prefills} == {128, 1024}
        assert {start for _, start in recorded(runner).prefills} == {0, BLOCK}


@pytest.mark.parametrize(("place", "kind"), [("host", "logits"), ("auto", "tokens"), ("device", "tokens")])
def test_where_tokens_are_chosen_is_an_option(folder: Path, place: str, kind: str) -> None:
    with fake_card() as card, opened(folder, card, sampling=place) as runner:
        assert runner.traits.sampling == place
        assert recorded(runner).decodes[-1] == kind  # the last thing that was warmed up


def test_the_oldest_version_samples_on_the_host_and_starts_prompts_at_their_beginning(folder: Path) -> None:
    with fake_card(FAKE_TT_METAL="2025-07") as card, opened(folder, card) as runner:
        traits = runner.traits
        assert (traits.sampling, traits.resumes, traits.shares_blocks) == ("host", False, False)


def test_copies_of_the_model_share_the_batch(folder: Path) -> None:
    rows = [PrefillRow(prompt(slot, 9), 0, table(slot), slot) for slot in range(8)]
    with fake_card(FAKE_TT_CHIPS="2") as card, opened(folder, card, data_parallel=2) as runner:
        assert runner.max_batch_size == 8
        assert not runner.traits.shares_blocks
        logits = runner.prefill(rows)
        tokens = [int(each.argmax()) for each in logits]
        decoded = decode(runner, tokens, [9] * 8, [row.block_table for row in rows], range(8)).logits
        alone = NumpyRunner.load(folder, 8)
        alone.allocate_kv(8, BLOCK)
        alone.prefill(rows)
        expected = alone.decode(np.array(tokens, np.int32), np.full(8, 9, np.int32), [row.block_table for row in rows])
        np.testing.assert_allclose(decoded, expected, rtol=1e-5, atol=1e-6)
    assert card.calls == ["fabric FABRIC_1D", "open 1x2", "close", "close", "close", "fabric DISABLED"]


def test_phases_are_told_in_order(folder: Path) -> None:
    said: list[str] = []
    with fake_card() as card, opened(folder, card, said):
        pass
    assert said[:3] == [
        "importing ttnn and tt-metal's models",
        "opening the device",
        "reading weights and putting them on the device",
    ]
    assert said[3] == "compiling prefill of 128 tokens (1 of 6)"
    assert said[-1] == "capturing decode that samples"


# what can't be


FAILURES = {
    "no device": ({"FAKE_TT_CHIPS": "0"}, {}, "no Tenstorrent device was found"),
    "too few": ({}, {"mesh_device": "T3K"}, "mesh_device T3K has 8 chips, and this machine has 1"),
    "no such mesh": ({}, {"mesh_device": "N151"}, "mesh_device: 'N151' is none of N150"),
    "broken": ({"FAKE_TT_FAULT": "open"}, {}, "RuntimeError: TT_FATAL"),
    "no memory": ({"FAKE_TT_FAULT": "dram"}, {}, "the device is out of DRAM memory: lower max_batch_size"),
    "traces": ({"FAKE_TT_FAULT": "trace"}, {}, "the traces don't fit: raise trace_region_size"),
    "batch": ({}, {"max_batch_size": 5}, "max_batch_size: tt-metal has no batch of 5"),
    "unknown": ({"FAKE_TT_METAL": "tomorrow"}, {}, "this tt-metal's Generator isn't known: its decode_forward"),
}


@pytest.mark.parametrize(("environment", "options", "words"), FAILURES.values(), ids=FAILURES)
def test_a_failed_load_says_why_and_closes_the_device(
    folder: Path, environment: dict[str, str], options: dict[str, Any], words: str
) -> None:
    with fake_card(**environment) as card:
        with pytest.raises(BackendFailed) as caught, opened(folder, card, **options):
            pass
        assert caught.value.message.startswith(words)
        assert "\n" not in caught.value.message
        assert card.ttnn.MACHINE.mesh is None or not card.ttnn.MACHINE.mesh.is_open
        assert card.ttnn.MACHINE.fabric is card.ttnn.FabricConfig.DISABLED


def test_a_generator_that_could_go_on_with_tokens_of_its_own_is_refused(folder: Path) -> None:
    with fake_card() as card:
        made = card.generator.Generator.__init__

        class Other(card.generator.Generator):  # type: ignore[name-defined, misc]
            def __init__(self, *args: Any) -> None:
                made(self, *args)
                del self.prev_page_table

        card.generator.Generator = Other
        with pytest.raises(BackendFailed, match="it has no prev_page_table"), opened(folder, card):
            pass


def test_closing_twice_is_closing_once(folder: Path) -> None:
    with fake_card() as card:
        with opened(folder, card) as runner:
            runner.close()
        assert card.calls.count("close") == 1
        with pytest.raises(RuntimeError, match="isn't open"):
            runner.prefill([PrefillRow(prompt(1, 5), 0, table(0), 0)])


@pytest.mark.parametrize("version", VERSIONS)
def test_a_prefill_is_slept_through_before_it_is_waited_for(
    folder: Path, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fake_card(FAKE_TT_METAL=version) as card, opened(folder, card) as runner:
        card.ttnn.MACHINE.chip.prefill_s = 0.3
        row = PrefillRow(np.arange(5, dtype=np.int32), 0, table(1), slot=0)
        runner.prefill([row])
        slept: list[float] = []
        monkeypatch.setattr(time, "sleep", slept.append)
        runner.prefill([row])
        assert max(slept, default=0.0) > 0.0
