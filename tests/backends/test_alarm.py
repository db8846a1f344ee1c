"""An alarm interrupts whoever waits for the server, and nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from backends.alarm import Alarm
from backends.upstream_errors import WorkerLost

SECONDS = 0.05


async def answer(*waits_s: float) -> AsyncGenerator[float, None]:
    with Alarm(SECONDS, "too slow") as alarm:
        for wait_s in waits_s:
            alarm.ring_after(SECONDS)
            await asyncio.sleep(wait_s)
            alarm.rest()
            yield wait_s


async def test_it_rings_while_the_server_is_waited_for() -> None:
    reading = answer(0, 60)
    assert await anext(reading) == 0
    with pytest.raises(WorkerLost, match="too slow"):
        await anext(reading)


async def test_a_reader_that_takes_its_time_isn_t_interrupted() -> None:
    reading = answer(0, 0, 60)
    assert await anext(reading) == 0
    await asyncio.sleep(3 * SECONDS)
    assert await anext(reading) == 0
    with pytest.raises(WorkerLost, match="too slow"):
        await anext(reading)


async def test_another_task_may_read_on() -> None:
    reading = answer(0, 60)
    assert await asyncio.ensure_future(anext(reading)) == 0
    with pytest.raises(WorkerLost, match="too slow"):
        await asyncio.ensure_future(anext(reading))
