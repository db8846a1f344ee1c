"""Events to a socket, as they come. One frame is one HTTP chunk; a client that leaves ends the generation."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence

import structlog
from aiohttp import web

from adapters.base import Exchange, KeepAlive
from backends.errors import DragomanError
from backends.events import Event, EventStream
from gateway.log import RequestLine

log = structlog.get_logger()


async def stream(
    response: web.StreamResponse, exchange: Exchange, first: Sequence[Event], events: EventStream, line: RequestLine
) -> None:
    """Sends everything, `first` included. An error is told in the stream, and nothing follows it."""
    writer = _Writer(response)
    async with writer.kept_alive(exchange.keep_alive):
        await _send_answer(writer, exchange, first, events, line)
    await response.write_eof()


async def _send_answer(
    writer: _Writer, exchange: Exchange, first: Sequence[Event], events: EventStream, line: RequestLine
) -> None:
    try:
        await _send_events(writer, exchange, first)
        async for batch in events:
            await _send_events(writer, exchange, batch)
        await writer.send(exchange.tail())
    except (ConnectionError, asyncio.CancelledError):
        raise
    except DragomanError as error:
        line.error = error.message
        await writer.send(exchange.failure(error))
    except Exception:
        log.exception("bug", id=line.id, route=line.route)
        line.error = "the gateway failed: see its log"
        await writer.send(exchange.failure(DragomanError(line.error)))


async def _send_events(writer: _Writer, exchange: Exchange, events: Sequence[Event]) -> None:
    for event in events:
        await writer.send(exchange.frames(event))


class _Writer:
    """Writes frames, and knows when the last one went."""

    def __init__(self, response: web.StreamResponse) -> None:
        self._response = response
        self._clock = asyncio.get_running_loop().time
        self._last_sent = self._clock()

    async def send(self, frames: Iterable[bytes]) -> None:
        for frame in frames:
            await self._response.write(frame)
            self._last_sent = self._clock()

    @contextlib.asynccontextmanager
    async def kept_alive(self, keep_alive: KeepAlive | None) -> AsyncIterator[None]:
        """One task a stream rather than a timer an event: a timer costs more than the event."""
        if keep_alive is None:
            yield
            return
        task = asyncio.create_task(self._break_silence(keep_alive))
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await task

    async def _break_silence(self, keep_alive: KeepAlive) -> None:
        while True:
            left_s = self._last_sent + keep_alive.after_s - self._clock()
            if left_s > 0:
                await asyncio.sleep(left_s)
            else:
                await self.send((keep_alive.frame(),))
