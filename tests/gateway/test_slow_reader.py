"""A client that asks and doesn't read."""

from __future__ import annotations

import asyncio
import socket

import orjson

from backends.events import Event, EventStream, Started, Text
from backends.request import GenerateRequest
from gateway.config import Limits
from tests.fakes import ScriptedBackend
from tests.gateway.conftest import Connect, LogLines
from tests.gateway.test_handler import until


class Endless(ScriptedBackend):
    """Writes for ever, as fast as it is read."""

    async def generate(self, request: GenerateRequest) -> EventStream:
        events: list[Event] = [Started(0, 1)]
        try:
            while True:
                yield events
                await asyncio.sleep(0)
                events = [Text(0, "x" * 65_536, (1,))]
        finally:
            self.num_closed += 1


async def test_who_does_not_read_is_dropped(connect: Connect, log_lines: LogLines) -> None:
    backend = Endless()
    client = await connect(backend, limits=Limits(unread_s=0.2))
    body = orjson.dumps({"messages": [{"role": "user", "content": "hi"}], "stream": True})
    with socket.create_connection((client.host, client.port or 0)) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        sock.sendall(head.encode() + body)
        await until(lambda: backend.num_closed == 1, attempts=3000)
    await until(lambda: any(line.get("status") == 499 for line in log_lines))
    (line,) = [line for line in log_lines if line["event"] == "request"]
    assert line["error"] == "the client read nothing for 0.2 s"
