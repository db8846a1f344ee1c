"""Several streams of events as one, in the order in which they come."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from backends.engine.subscription import Subscription
from backends.events import EventStream


def merged(streams: Sequence[EventStream]) -> EventStream:
    """The first that fails ends them all. Closing closes them all. A single one is itself: it needs no task."""
    return streams[0] if len(streams) == 1 else _merged(streams)


async def _merged(streams: Sequence[EventStream]) -> EventStream:
    subscription = Subscription()
    forwarding = asyncio.create_task(_forward(streams, subscription))
    try:
        while batch := await subscription.take():
            yield batch
    finally:
        forwarding.cancel()
        await asyncio.wait([forwarding])


async def _forward(streams: Sequence[EventStream], subscription: Subscription) -> None:
    async def forward(stream: EventStream) -> None:
        async with contextlib.aclosing(stream):
            async for batch in stream:
                subscription.put(batch)

    tasks = [asyncio.create_task(forward(stream)) for stream in streams]
    try:
        await asyncio.gather(*tasks)
        subscription.put((), is_last=True)
    except Exception as error:
        subscription.put((), error=error)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
