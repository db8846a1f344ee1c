"""Where a request comes from and where its answer goes: a body and a response of HTTP, or messages of a WebSocket."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter

from gateway.body import read_body
from gateway.bounds import check_depth
from gateway.config import Limits


class Channel(Protocol):
    """For one request."""

    request: web.Request

    async def body(self, limits: Limits) -> bytes:
        """Raises TooLarge, TooSlow or FieldTooLarge."""
        ...

    async def begin(self, headers: Mapping[str, str], frame: bytes) -> AbstractStreamWriter:
        """With the first frame of a stream; empty: there is none yet."""
        ...

    def cut(self, frame: bytes) -> bytes:
        """A frame as the client is sent it."""
        ...

    async def end(self) -> web.StreamResponse:
        """After the last frame."""
        ...


class _Streamed(web.StreamResponse):
    """Its headers go out with what is written first."""

    _send_headers_immediately = False  # a name of aiohttp's own: without it they'd go out by themselves, no more


class Http:
    """A Channel. A frame is a chunk; aiohttp writes every chunk by itself, so all but the first are cut by us."""

    _response: web.StreamResponse  # once it has begun

    def __init__(self, request: web.Request) -> None:
        self.request = request
        self._is_chunked = request.version >= HttpVersion11

    async def body(self, limits: Limits) -> bytes:
        return await read_body(self.request.content, limits)

    async def begin(self, headers: Mapping[str, str], frame: bytes) -> AbstractStreamWriter:
        self._response = _Streamed(headers=headers)
        writer = await self._response.prepare(self.request)
        if writer is None:
            raise RuntimeError("the answer has begun already")
        if frame:
            await writer.write(frame)
        else:
            writer.send_headers()
        return writer

    def cut(self, frame: bytes) -> bytes:
        """RFC 9112, section 7.1. An empty chunk would end the answer."""
        if not self._is_chunked:
            return frame
        return b"%x\r\n%b\r\n" % (len(frame), frame) if frame else b""

    async def end(self) -> web.StreamResponse:
        await self._response.write_eof()
        return self._response


class Message:
    """A Channel: one message of an open WebSocket is the body, and a frame is a message. body: the message's."""

    def __init__(self, request: web.Request, socket: web.WebSocketResponse, body: bytes) -> None:
        self.request = request
        self._socket = socket
        self._body = body

    async def body(self, limits: Limits) -> bytes:
        check_depth(self._body, limits.max_json_depth)
        return self._body

    async def begin(self, _headers: Mapping[str, str], frame: bytes) -> AbstractStreamWriter:
        """They went out when the socket was opened."""
        if frame:
            await self._socket.send_str(frame.decode())
        return await self._socket.prepare(self.request)

    def cut(self, frame: bytes) -> bytes:
        """RFC 6455, section 5.2: a text message in one piece, unmasked."""
        size = len(frame)
        if size < 126:
            return b"\x81%c%b" % (size, frame)
        if size < 2**16:
            return b"\x81\x7e%b%b" % (size.to_bytes(2, "big"), frame)
        return b"\x81\x7f%b%b" % (size.to_bytes(8, "big"), frame)

    async def end(self) -> web.StreamResponse:
        return self._socket
