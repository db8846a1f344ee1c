"""How much the engine takes on."""

from __future__ import annotations

import pytest

from backends.engine.capacity import Capacity
from backends.errors import Busy


def test_what_is_too_much_is_refused_with_a_time_to_come_again() -> None:
    capacity = Capacity(4)
    capacity.take(3)
    with pytest.raises(Busy) as refused:
        capacity.take(2)
    assert refused.value.retry_after_s is not None
    assert refused.value.retry_after_s >= 1.0
    capacity.give_back(1, held_s=1.0)
    capacity.take(2)
    assert capacity.num_taken == 4


def test_the_longer_requests_take_the_later_one_should_come_again() -> None:
    waits = []
    for held_s in (10.0, 100.0):
        capacity = Capacity(2)
        for _ in range(20):
            capacity.take(1)
            capacity.give_back(1, held_s)
        capacity.take(2)
        with pytest.raises(Busy) as refused:
            capacity.take(1)
        waits.append(refused.value.retry_after_s)
    assert waits == [pytest.approx(5.0, rel=0.1), pytest.approx(50.0, rel=0.1)]


def test_a_request_larger_than_the_queue_has_an_empty_one_to_itself() -> None:
    capacity = Capacity(4)
    capacity.take(100)
    with pytest.raises(Busy):
        capacity.take(1)
