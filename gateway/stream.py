"""Events to a socket, as they come. One frame is one HTTP chunk; a client that leaves ends the generation."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

import structlog
from aiohttp import web

from adapters.base import Exchange
from backends.errors import DragomanError
from backends.events import Event, EventStream
from gateway.log import RequestLine

log = structlog.get_logger()


async def stream(
    response: web.StreamResponse, exchange: Exchange, first: Sequence[Event], events: EventStream, line: RequestLine
) -> None:
    """Sends everything, `first` included. An error is told in the stream, and nothing follows it."""
    try:
        await _send_events(response, exchange, first)
        async for batch in events:
            await _send_events(response, exchange, batch)
        await _send(response, exchange.tail())
    except (ConnectionError, asyncio.CancelledError):
        raise
    except DragomanError as error:
        line.error = error.message
        await _send(response, exchange.failure(error))
    except Exception:
        log.exception("bug", id=line.id, route=line.route)
        line.error = "the gateway failed: see its log"
        await _send(response, exchange.failure(DragomanError(line.error)))
    await response.write_eof()


async def _send_events(response: web.StreamResponse, exchange: Exchange, events: Sequence[Event]) -> None:
    for event in events:
        await _send(response, exchange.frames(event))


async def _send(response: web.StreamResponse, frames: Iterable[bytes]) -> None:
    for frame in frames:
        await response.write(frame)
