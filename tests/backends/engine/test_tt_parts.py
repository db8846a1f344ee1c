"""The pure parts around a Tenstorrent card: arrays for the Generator, its versions, failures, hangs, pace."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends.engine.pace import Pace
from backends.engine.renewal import HANGS, num_hangs
from backends.engine.runner import DeviceSampling, PrefillRow
from backends.engine.tt_api import UnknownGenerator, detect
from backends.engine.tt_batches import decode_batch, prefill_batch, sampling_lists
from backends.engine.tt_failures import holders, in_words
from tests.fakes.card import fake_card

# arrays


def test_a_decode_is_of_the_full_batch_and_idle_rows_are_marked() -> None:
    tables = [np.array([4, 7], np.int32), np.array([0], np.int32)]
    batch = decode_batch(np.array([11, 12], np.int32), np.array([70, 3], np.int32), tables, [2, 0], 4, width=3)
    assert batch.tokens.tolist() == [[12], [0], [11], [0]]
    assert batch.positions.tolist() == [3, -1, 70, -1]
    assert batch.page_table.tolist() == [[1, 0, 0], [0, 0, 0], [5, 8, 0], [0, 0, 0]]
    assert {each.dtype for each in (batch.tokens, batch.positions, batch.page_table)} == {np.dtype(np.int32)}


def test_a_prefill_has_a_row_for_each_prompt_wherever_its_slot_is() -> None:
    first = PrefillRow(np.array([1, 2, 3], np.int32), 0, np.array([9], np.int32), slot=5)
    second = PrefillRow(np.array([8], np.int32), 4, np.array([0, 1], np.int32), slot=0)
    batch = prefill_batch([first, second], width=2)
    assert batch.tokens.tolist() == [[1, 2, 3, 0, 0], [0, 0, 0, 0, 8]]
    assert batch.page_table.tolist() == [[10, 0], [1, 2]]
    assert (batch.ends, batch.starts, batch.slots) == ([3, 5], [0, 4], [5, 0])


def test_idle_rows_are_greedy_and_no_batch_is_all_neutral() -> None:
    lists = sampling_lists([DeviceSampling(0.7, 20, 0.9), DeviceSampling(0.0, 1, 1.0)], [3, 1], 4)
    assert lists["temperature"] == [0.0, 0.0, 0.0, 0.7]
    assert lists["top_k"] == [1, 1, 1, 20]
    assert lists["top_p"][3] == 0.9
    assert 1.0 not in lists["top_p"]


# versions


@pytest.mark.parametrize(
    ("version", "decode", "commands", "resumes", "names_batch"),
    [
        ("2025-07", "decode_forward_text", "none", False, True),
        ("2026-02-04", "decode_forward_text", "reset_batch", True, False),
        ("2026-02-26", "decode_forward", "reset_batch", True, False),
        ("contract-1", "decode_forward", "reload", True, False),
    ],
)
def test_a_version_is_told_by_its_signatures(
    version: str, decode: str, commands: str, resumes: bool, names_batch: bool
) -> None:
    with fake_card(FAKE_TT_METAL=version) as card:
        api = detect(card.generator.Generator)
    assert (api.decode, api.commands, api.resumes, api.names_batch) == (decode, commands, resumes, names_batch)


class _DemandsMore:
    def prefill_forward_text(self, tokens: Any, page_table: Any, kv_cache: Any, prompt_lens: Any, empty_slots: Any,
                             rope_deltas: Any) -> None: ...  # fmt: skip

    def decode_forward(self) -> None: ...


class _ForgetsSlots:
    def prefill_forward_text(self, tokens: Any, page_table: Any, kv_cache: Any, prompt_lens: Any) -> None: ...

    def decode_forward(self) -> None: ...


@pytest.mark.parametrize(
    ("generator", "complaint"),
    [
        (object, "it has no prefill_forward_text"),
        (_ForgetsSlots, "its prefill_forward_text doesn't take empty_slots"),
        (_DemandsMore, "its decode_forward doesn't take enable_trace"),
    ],
)
def test_an_unknown_version_is_refused_with_those_that_are_known(generator: type, complaint: str) -> None:
    with pytest.raises(UnknownGenerator, match=complaint) as caught:
        detect(generator)
    assert "ttnn 0.67" in str(caught.value)
    assert "contract 1" in str(caught.value)


# failures


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ModuleNotFoundError("No module named 'models'", name="models"), "tt-metal's `models` can't be imported"),
        (ModuleNotFoundError("No module named 'ttnn'", name="ttnn"), "ttnn isn't installed"),
        (ModuleNotFoundError("No module named 'loguru'", name="loguru"), "tt-metal's models need 'loguru'"),
        (RuntimeError("TT_THROW @ x.cpp\ninfo:\nOut of Memory: no 3 B DRAM buffer"), "the device is out of DRAM"),
        (RuntimeError("TT_FATAL @ a.cpp:1\nbacktrace:\n --- f"), "RuntimeError: TT_FATAL @ a.cpp:1"),
        (ValueError("x" * 1000), "ValueError: xxx"),
        (ValueError(""), "ValueError: no reason given"),
    ],
)
def test_causes_are_one_line_in_words(error: Exception, words: str) -> None:
    found = in_words(error)
    assert found.startswith(words)
    assert "\n" not in found
    assert len(found) < 400


def test_who_holds_the_device_is_found(tmp_path: Path) -> None:
    devices, processes = tmp_path / "dev", tmp_path / "proc"
    for pid, target in ((1, "/dev/null"), (42, devices / "0"), (os.getpid(), devices / "0")):
        files = processes / str(pid) / "fd"
        files.mkdir(parents=True)
        (files / "3").symlink_to(target)
        (processes / str(pid) / "cmdline").write_text("python3\0chat.py\0")
    (processes / "meminfo").touch()
    assert holders(devices, processes) == {42: "python3 chat.py"}


# hangs


def test_the_hangs_of_the_last_hour_are_counted_from_process_to_process() -> None:
    handed_on: dict[str, str] = {}
    assert [num_hangs(moment, handed_on) for moment in (10.5, 600.0, 3700.0)] == [1, 2, 2]
    assert handed_on == {HANGS: "600.0 3700.0"}


# pace


def test_a_device_is_left_alone_for_most_of_the_least_time_that_it_took_lately() -> None:
    pace = Pace()
    assert pace.rest_s(["decode"]) == 0.0
    for took_s in (0.05, 4.0, 0.06):  # one of them compiled something
        pace.note(["decode"], took_s)
    assert pace.rest_s(["decode"]) == pytest.approx(0.045)
    for _ in range(4):
        pace.note(["decode"], 0.08)
    assert pace.rest_s(["decode"]) == pytest.approx(0.072)


def test_work_one_after_the_other_takes_the_sum() -> None:
    pace = Pace()
    pace.note([128, 128], 0.2)
    assert pace.rest_s([128, 128, 128]) == pytest.approx(0.27)
    assert pace.rest_s([128, 1024]) == 0.0
