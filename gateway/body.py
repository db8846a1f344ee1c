"""Reading a request's body: not too much of it, not for ever, and nothing that would be too deep to look at."""

from __future__ import annotations

import asyncio

from aiohttp import StreamReader

from backends.errors import TooLarge, TooSlow
from gateway.bounds import check_depth
from gateway.config import Limits


async def read_body(content: StreamReader, limits: Limits) -> bytes:
    """Raises TooLarge, TooSlow or FieldTooLarge. aiohttp's own limit is fixed with the listener, ours with the config
    of the day."""
    arrives_in_s = None if content.is_eof() else limits.body_s  # most bodies are here already: no timer for them
    try:
        body = await asyncio.wait_for(_read(content, limits.max_body_mib), arrives_in_s)
    except asyncio.TimeoutError:
        raise TooSlow(f"the body didn't arrive within {limits.body_s:g} s") from None
    check_depth(body, limits.max_json_depth)
    return body


async def _read(content: StreamReader, max_mib: int) -> bytes:
    body = bytearray()
    async for piece in content.iter_any():
        body += piece
        if len(body) > max_mib * 2**20:
            raise TooLarge(f"the body is larger than {max_mib} MiB")
    return bytes(body)
