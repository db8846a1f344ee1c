"""Events to a socket, as they come. One frame is one HTTP chunk or one message; a client that leaves ends the
generation, and one that doesn't read is made to leave."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping

import structlog
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from adapters.base import Exchange, KeepAlive
from backends.errors import DragomanError
from backends.events import EventStream
from gateway.channel import Channel
from gateway.log import RequestLine, without_content

log = structlog.get_logger()

_LOOKS_PER_DEADLINE = 4


async def stream(
    channel: Channel,
    headers: Mapping[str, str],
    exchange: Exchange,
    events: EventStream,
    line: RequestLine,
    *,
    unread_s: float,
) -> web.StreamResponse:
    """Sends everything, the headers first. An error is told in the stream, and nothing follows it. unread_s: who reads
    nothing for so long is dropped."""
    writer = _Writer(channel, await channel.begin(headers), line, unread_s)
    async with writer.watched(exchange.keep_alive):
        await _send_answer(writer, exchange, events, line)
    return await channel.end()


async def _send_answer(writer: _Writer, exchange: Exchange, events: EventStream, line: RequestLine) -> None:
    try:
        async for batch in events:
            await writer.send(frame for event in batch for frame in exchange.frames(event))
        await writer.send(exchange.tail())
    except (ConnectionError, asyncio.CancelledError):
        raise
    except DragomanError as error:
        line.error = without_content(error)
        await writer.send(exchange.failure(error))
    except Exception:
        log.exception("bug", id=line.id, route=line.route)
        line.error = "the gateway failed: see its log"
        await writer.send(exchange.failure(DragomanError(line.error)))


class _Writer:
    """Writes frames, and knows when the last one went, and whether one is on its way.

    All frames that are there go in one write: a system call costs more than all the rest of it.
    """

    def __init__(self, channel: Channel, body: AbstractStreamWriter, line: RequestLine, unread_s: float) -> None:
        self._request = channel.request
        self._cut = channel.cut
        self._body = body
        self._line = line
        self._unread_s = unread_s
        self._clock = asyncio.get_running_loop().time
        self._last_sent = self._clock()
        self._writing_since: float | None = None

    async def send(self, frames: Iterable[bytes]) -> None:
        """Raises ConnectionResetError when the client has left."""
        data = b"".join(map(self._cut, frames))
        if not data:
            return
        transport = self._request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client left")
        self._writing_since = began = self._clock()
        transport.write(data)
        await self._body.drain()
        self._last_sent = self._clock()
        self._line.unread_s += self._last_sent - began
        self._writing_since = None

    @contextlib.asynccontextmanager
    async def watched(self, keep_alive: KeepAlive | None) -> AsyncIterator[None]:
        """One task a stream rather than a timer an event: a timer costs more than the event."""
        task = asyncio.create_task(self._watch(keep_alive))
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await task

    async def _watch(self, keep_alive: KeepAlive | None) -> None:
        look_s = self._unread_s / _LOOKS_PER_DEADLINE
        while True:
            silent_s = self._clock() - self._last_sent
            if self._writing_since is not None:
                if self._clock() - self._writing_since >= self._unread_s:
                    self._drop()
            elif keep_alive is not None and silent_s >= keep_alive.after_s:
                await self.send((keep_alive.frame(),))
                silent_s = 0.0
            await asyncio.sleep(look_s if keep_alive is None else min(look_s, max(keep_alive.after_s - silent_s, 0.01)))

    def _drop(self) -> None:
        """What is still unsent is of no use: the connection is closed without waiting for it."""
        self._line.error = f"the client read nothing for {self._unread_s:g} s"
        if self._request.transport is not None:
            self._request.transport.abort()
