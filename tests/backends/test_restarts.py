from __future__ import annotations

from backends.restarts import Restarts


def test_pauses_grow_up_to_a_bound() -> None:
    restarts = Restarts(max_deaths=9, first_s=1.0, longest_s=5.0)
    assert [restarts.died(float(at)) for at in range(5)] == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_too_many_deaths_open_the_breaker() -> None:
    restarts = Restarts(max_deaths=3, within_s=100.0)
    assert [restarts.died(0.0) is None for _ in range(3)] == [False, False, True]


def test_old_deaths_are_forgotten() -> None:
    restarts = Restarts(max_deaths=2, within_s=100.0, first_s=1.0)
    assert [restarts.died(at) for at in (0.0, 101.0, 202.0)] == [1.0, 1.0, 1.0]
