"""Events to a socket, as they come. One frame is one HTTP chunk or one message; a client that leaves ends the
generation, and one that doesn't read is made to leave."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping

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
    headers: Callable[[], Mapping[str, str]],
    exchange: Exchange,
    events: EventStream,
    line: RequestLine,
    *,
    headers_s: float,
    unread_s: float,
) -> web.StreamResponse:
    """Sends everything. headers: asked for when they go out, which is with the first events; when these are long in
    coming, after headers_s, before it is sure that there will be any: some clients wait 20 s for them and no longer.

    An error before that is raised: it is a plain answer with a status of its own. One behind it is told in the stream,
    and nothing follows it. unread_s: who reads nothing for so long is dropped."""
    writer = _Writer(channel, headers, line, headers_s, unread_s)
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
    except Exception as error:
        if not writer.has_begun:
            raise
        if isinstance(error, DragomanError):
            line.error = without_content(error)
            return await writer.send(exchange.failure(error))
        log.exception("bug", id=line.id, route=line.route)
        line.error = "the gateway failed: see its log"
        return await writer.send(exchange.failure(DragomanError(line.error)))


class _Writer:
    """Writes frames, and knows when the last one went, and whether one is on its way.

    All frames that are there go in one write: a system call costs more than all the rest of it.
    """

    def __init__(
        self,
        channel: Channel,
        headers: Callable[[], Mapping[str, str]],
        line: RequestLine,
        headers_s: float,
        unread_s: float,
    ) -> None:
        self._channel = channel
        self._request = channel.request
        self._headers = headers
        self._line = line
        self._unread_s = unread_s
        self._clock = asyncio.get_running_loop().time
        self._begin_by = self._clock() + headers_s
        self._beginning = asyncio.Lock()
        self._body: AbstractStreamWriter | None = None  # once it has begun
        self._last_sent = self._clock()
        self._writing_since: float | None = None

    @property
    def has_begun(self) -> bool:
        return self._body is not None or self._beginning.locked()

    async def send(self, frames: Iterable[bytes]) -> None:
        """Begins, if need be. Raises ConnectionResetError when the client has left."""
        if self._body is None:
            frames = await self._begin(frames)
        data = b"".join(map(self._channel.cut, frames))
        if not data or self._body is None:
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

    async def _begin(self, frames: Iterable[bytes]) -> Iterable[bytes]:
        """With the first of the frames, unless somebody else has begun meanwhile. Returns those that are left."""
        async with self._beginning:
            if self._body is not None:
                return frames
            first, *rest = [frame for frame in frames if frame] or [b""]
            self._writing_since = self._clock()
            self._body = await self._channel.begin(self._headers(), first)
            self._last_sent, self._writing_since = self._clock(), None
            return rest

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
            now = self._clock()
            left_s = look_s if keep_alive is None else min(look_s, keep_alive.after_s)
            if self._writing_since is not None:
                if now - self._writing_since >= self._unread_s:
                    self._drop()
            elif self._body is None:
                left_s = min(left_s, self._begin_by - now)
                if left_s <= 0:
                    await self.send(())
            elif keep_alive is not None:
                left_s = min(left_s, keep_alive.after_s - (now - self._last_sent))
                if left_s <= 0:
                    await self.send((keep_alive.frame(),))
            await asyncio.sleep(max(left_s, 0.01))

    def _drop(self) -> None:
        """What is still unsent is of no use: the connection is closed without waiting for it."""
        self._line.error = f"the client read nothing for {self._unread_s:g} s"
        if self._request.transport is not None:
            self._request.transport.abort()
