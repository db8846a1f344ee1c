"""Replies as aiohttp responses, with the headers that every answer of a dialect carries."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

from aiohttp import web

from adapters.base import Call, Dialect, Reply
from backends.errors import DragomanError
from gateway.log import RequestLine

_MAX_IGNORED = 1000  # characters


def respond(reply: Reply, dialect: Dialect, call: Call) -> web.Response:
    headers = {**common_headers(dialect, call), **reply.headers}
    if reply.content_type:
        headers["Content-Type"] = reply.content_type
    body = _one_by_one(reply.frames) if reply.frames else reply.body
    return web.Response(body=body, status=reply.status, headers=headers)


def refuse(error: DragomanError, dialect: Dialect, call: Call) -> web.Response:
    response = respond(dialect.error(error, call), dialect, call)
    if error.retry_after_s is not None:
        response.headers["Retry-After"] = str(max(1, round(error.retry_after_s)))
    return response


def common_headers(dialect: Dialect, call: Call) -> dict[str, str]:
    headers = {"X-Request-Id": call.id, **dialect.headers, **dialect.cors(call.origin)}
    if call.ignored:
        headers["X-Dragoman-Ignored"] = _printable(call.ignored)
    return headers


def told(line: RequestLine) -> dict[str, str]:
    """Why it took so long, as far as it is known by now, and where a request that waits for others stands."""
    headers = {"Server-Timing": line.server_timing()}
    if line.model:
        standing = line.standing
        estimate = "" if standing.estimate_s is None else f";estimate={standing.estimate_s:.1f}"
        headers["X-Dragoman-Queue"] = f"position={standing.position}{estimate}"
    return headers


async def _one_by_one(frames: Iterable[bytes]) -> AsyncIterator[bytes]:
    """An HTTP chunk for each frame."""
    for frame in frames:
        yield frame


def _printable(names: Iterable[str]) -> str:
    """The names come from the client: nothing but printable ASCII may reach a header."""
    joined = ", ".join(dict.fromkeys(names)).encode("ascii", "replace").decode()
    return "".join(c for c in joined if c.isprintable())[:_MAX_IGNORED]
