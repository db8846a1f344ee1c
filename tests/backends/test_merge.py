"""Several streams of events as one."""

from __future__ import annotations

import asyncio

import pytest

from backends.errors import BackendFailed
from backends.events import EventStream, Text
from backends.merge import merged


class Ended(list[int]):
    """The streams that have ended, in their order."""

    async def stream(self, index: int, *waits_s: float, error: Exception | None = None) -> EventStream:
        try:
            for wait_s in waits_s:
                await asyncio.sleep(wait_s)
                yield [Text(index, "")]
            if error is not None:
                raise error
        finally:
            self.append(index)


async def test_events_come_as_they_are_ready_and_all_of_them() -> None:
    ended = Ended()
    events = [event async for batch in merged([ended.stream(0, 0, 0.05), ended.stream(1, 0)]) for event in batch]
    assert [event.index for event in events] == [0, 1, 0]
    assert ended == [1, 0]


@pytest.mark.parametrize("error", [BackendFailed("gone"), ValueError("a bug")])
async def test_the_first_that_fails_ends_them_all(error: Exception) -> None:
    ended = Ended()
    events = merged([ended.stream(0, 60), ended.stream(1, 0, error=error)])
    assert await anext(events) == [Text(1, "")]
    with pytest.raises(type(error), match=str(error)):
        await anext(events)
    assert sorted(ended) == [0, 1]


@pytest.mark.parametrize("num_streams", [1, 2])
async def test_closing_closes_them_all(num_streams: int) -> None:
    ended = Ended()
    events = merged([ended.stream(index, 0, 60) for index in range(num_streams)])
    await anext(events)
    await events.aclose()
    assert len(ended) == num_streams
