"""What a load took the last time, and what remains of this one."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends.engine.load_times import LoadTimes


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def load(times: LoadTimes, clock: Clock, **phases: float) -> None:
    times.begin()
    for phase, seconds in phases.items():
        times.enter(phase)
        clock.now += seconds
    times.end()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "not there yet" / "times.json"


def test_a_first_load_tells_nothing(clock: Clock, file: Path) -> None:
    times = LoadTimes(file, clock)
    assert times.total_s is None
    times.begin()
    times.enter("weights")
    clock.now += 3.0
    assert times.remaining_s is None
    assert str(times) == "3 s since the start, and nothing tells yet how long it takes"


def test_the_next_process_knows_what_remains(clock: Clock, file: Path) -> None:
    load(LoadTimes(file, clock), clock, weights=2.0, kernels=30.0, traces=8.0)
    times = LoadTimes(file, clock)
    assert times.total_s == 40.0
    times.begin()
    assert times.remaining_s == 40.0
    times.enter("weights")
    clock.now += 0.5
    assert times.remaining_s == 39.5
    clock.now += 4.5
    assert times.remaining_s == 38.0, "a phase that takes longer doesn't shorten those to come"
    times.enter("kernels")
    clock.now += 10.0
    assert str(times) == "15 s since the start, about 28 s to go"


@pytest.mark.parametrize("phase", ["traces", "something new"])
def test_where_the_last_load_was_done_or_otherwise_nothing_is_promised(clock: Clock, file: Path, phase: str) -> None:
    load(LoadTimes(file, clock), clock, weights=2.0, traces=8.0)
    times = LoadTimes(file, clock)
    times.begin()
    times.enter(phase)
    clock.now += 20.0
    assert times.remaining_s is None
    assert str(times) == "20 s since the start, the last time it took 10 s"


def test_only_the_last_load_counts(clock: Clock) -> None:
    times = LoadTimes(None, clock)
    load(times, clock, kernels=300.0)
    load(times, clock, kernels=3.0)
    assert times.total_s == 3.0


@pytest.mark.parametrize("content", ["", "[]", '{"weights": "long"}'])
def test_a_file_that_isnt_ours_is_none(clock: Clock, tmp_path: Path, content: str) -> None:
    file = tmp_path / "times.json"
    file.write_text(content)
    assert LoadTimes(file, clock).total_s is None


def test_a_file_that_cant_be_written_is_no_failure(clock: Clock, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    times = LoadTimes(tmp_path / "file" / "times.json", clock)
    load(times, clock, weights=1.0)
    assert times.total_s == 1.0
