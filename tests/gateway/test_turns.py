from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.turns import Drain, Serve, Swap, next_turn

PATIENCE_S = 10.0


def turn(loaded: str | None, num_running: int, waiting: dict[str, float], now: float = 100.0) -> object:
    return next_turn(loaded, num_running, waiting, now, PATIENCE_S)


def test_an_empty_device_takes_whoever_waits_longest() -> None:
    assert turn(None, 0, {"a": 99.0, "b": 98.0}) == Swap("b")


def test_the_loaded_model_goes_first() -> None:
    assert turn("a", 3, {"b": 95.0}) == Serve()
    assert turn("a", 0, {"a": 99.9, "b": 95.0}) == Serve()


def test_an_idle_model_gives_way_at_once() -> None:
    assert turn("a", 0, {"b": 99.9}) == Swap("b")


def test_patience_ends() -> None:
    assert turn("a", 3, {"a": 99.0, "b": 90.0}) == Drain()
    assert turn("a", 0, {"a": 99.0, "b": 90.0}) == Swap("b")


def test_nobody_waiting_changes_nothing() -> None:
    assert turn("a", 0, {}) == turn("a", 0, {"a": 1.0}) == Serve()


@given(
    st.sampled_from(["a", "b", "c", None]),
    st.integers(0, 3),
    st.dictionaries(st.sampled_from("abc"), st.floats(0, 100), max_size=3),
)
def test_nothing_that_runs_is_ever_swapped_out_and_nobody_waits_beyond_patience_for_new_requests(
    loaded: str | None, num_running: int, waiting: dict[str, float]
) -> None:
    decided = turn(loaded, num_running, waiting)
    if isinstance(decided, Swap):
        assert num_running == 0
        assert decided.model != loaded
    overdue = [m for m, since in waiting.items() if m != loaded and 100.0 - since >= PATIENCE_S]
    if overdue:
        assert not isinstance(decided, Serve)
