"""Several requests over one WebSocket, each a message, one after another."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from aiohttp import WSCloseCode, WSMsgType, web

Answer: TypeAlias = Callable[[bytes], Awaitable[str]]
"""Of one message; what went wrong, or nothing."""

_MAX_WAITING = 32  # messages that were sent before their turn; the websockets package keeps as many
_MAX_REASON = 123  # bytes; RFC 6455, section 5.5


async def converse(socket: web.WebSocketResponse, answer: Answer) -> None:
    """Until the client closes, which ends what it is being answered, or an answer fails: that closes with 1011, as a
    handler that raises does in the websockets package."""
    waiting: asyncio.Queue[bytes] = asyncio.Queue(_MAX_WAITING)
    reading = asyncio.create_task(_read(socket, waiting))
    answering = asyncio.create_task(_answer_all(waiting, answer))
    tasks = (reading, answering)
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    if not answering.cancelled():
        reason = answering.result().encode()[:_MAX_REASON].decode(errors="ignore").encode()  # whole characters
        await socket.close(code=WSCloseCode.INTERNAL_ERROR, message=reason)


async def _read(socket: web.WebSocketResponse, waiting: asyncio.Queue[bytes]) -> None:
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            await waiting.put(message.data.encode())
        elif message.type is WSMsgType.BINARY:
            await waiting.put(message.data)


async def _answer_all(waiting: asyncio.Queue[bytes], answer: Answer) -> str:
    while True:
        error = await answer(await waiting.get())
        if error:
            return error
