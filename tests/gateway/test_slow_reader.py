"""A client that asks and doesn't read, or that never gets on with its request."""

from __future__ import annotations

import asyncio
import socket

import aiohttp
import orjson
import pytest

from backends.errors import TooSlow
from backends.events import Event, EventStream, Finished, Started, Text, Usage
from backends.request import GenerateRequest, TextPrompt
from gateway.app import running
from gateway.config import Limits, parse
from gateway.generation import MAX_BEHIND, Generation, Reader, WhenLeft
from tests.fakes import ScriptedBackend
from tests.gateway.conftest import Connect, LogLines
from tests.gateway.test_handler import until

LARGE = 2**24
"""Characters: more than the sockets hold."""


class Endless(ScriptedBackend):
    """Writes for ever, as fast as it is read. begins_with: characters, in its first batch."""

    begins_with = 0

    async def generate(self, request: GenerateRequest) -> EventStream:
        events: list[Event] = [Started(0, 1)]
        if self.begins_with:
            events.append(Text(0, "x" * self.begins_with, (1,)))
        try:
            while True:
                yield events
                await asyncio.sleep(0)
                events = [Text(0, "x" * 65_536, (1,))]
        finally:
            self.num_closed += 1


@pytest.mark.parametrize("begins_with", [0, LARGE], ids=["small", "large"])
async def test_who_does_not_read_is_dropped(connect: Connect, log_lines: LogLines, begins_with: int) -> None:
    backend = Endless()
    backend.begins_with = begins_with
    client = await connect(backend, limits=Limits(unread_s=0.2))
    body = orjson.dumps({"prompt": "hi", "stream": True})
    with socket.create_connection((client.host, client.port or 0)) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        head = f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        sock.sendall(head.encode() + body)
        await until(lambda: backend.num_closed == 1, attempts=3000)
    await until(lambda: any(line.get("status") == 499 for line in log_lines))
    (line,) = [line for line in log_lines if line["event"] == "request"]
    assert line["error"] == "the client read nothing for 0.2 s"


class Spring:
    """num_batches of a thousand events each. Counts those that came out."""

    def __init__(self, num_batches: int) -> None:
        self.num_batches = num_batches
        self.num_events = 0
        self.is_closed = False

    async def flow(self) -> EventStream:
        try:
            yield [Started(0, 1)]
            for _ in range(self.num_batches):
                await asyncio.sleep(0)
                self.num_events += 1000
                yield [Text(0, "x", (1,))] * 1000
            yield [Finished(0, "end", Usage())]
        finally:
            self.is_closed = True


def generation(spring: Spring, *, is_shared: bool, when_left: WhenLeft = "cancel") -> Generation:
    request = GenerateRequest(id="1", prompts=(TextPrompt(("x",)),))
    return Generation(
        request,
        spring.flow(),
        when_left=when_left,
        is_shared=is_shared,
        observe=lambda _event: None,
        over=lambda: None,
    )


@pytest.mark.parametrize("is_shared", [True, False], ids=["shared", "its own"])
async def test_an_answer_that_runs_away_from_its_only_reader_ends(is_shared: bool) -> None:
    spring = Spring(10**9)
    events = generation(spring, is_shared=is_shared).read(Reader("a"))
    await anext(events)
    await until(lambda: spring.is_closed)
    assert MAX_BEHIND < spring.num_events <= MAX_BEHIND + 2000
    with pytest.raises(TooSlow, match="ahead of its reader"):
        await anext(events)


async def test_a_slow_reader_is_dropped_from_a_shared_answer_and_the_others_go_on() -> None:
    spring = Spring(100)
    shared = generation(spring, is_shared=True)
    slow, quick = Reader("a"), Reader("b")
    events = shared.read(slow)
    await anext(events)
    read = [event async for batch in shared.read(quick) for event in batch]
    assert len(read) == 100_002
    assert slow.is_dropped
    assert not quick.is_dropped
    with pytest.raises(TooSlow):
        await anext(events)


async def test_an_answer_that_goes_on_without_readers_is_not_kept() -> None:
    spring = Spring(100)
    drained = generation(spring, is_shared=False, when_left="drain")
    events = drained.read(Reader("a"))
    await anext(events)
    await until(lambda: spring.is_closed)
    assert spring.num_events == 100_000
    with pytest.raises(TooSlow):
        await anext(events)
    assert [batch async for batch in drained.read(Reader("b"))] == []


def gateway_with(limits: str) -> str:
    return f"listeners: [{{port: 0, persona: openai}}]\nmodels: {{demo: {{backend: engine}}}}\nlimits: {limits}"


@pytest.mark.parametrize(("max_header_kib", "status"), [(16, 200), (1, 400)])
async def test_a_header_may_be_as_long_as_the_config_says(max_header_kib: int, status: int) -> None:
    config = parse(gateway_with(f"{{max_header_kib: {max_header_kib}}}"), "test", {})
    async with running(config) as gateway, aiohttp.ClientSession() as session:
        url = gateway.addresses[0].url + "/v1/models"
        async with session.get(url, headers={"X-Long": "x" * 12_000}) as response:
            assert response.status == status


@pytest.mark.parametrize("request_head", [b"", b"GET /v1/models HTTP/1.1\r\nHost: local"], ids=["idle", "half a head"])
async def test_a_connection_on_which_nothing_comes_is_closed(request_head: bytes) -> None:
    async with running(parse(gateway_with("{idle_connection_s: 0.1}"), "test", {})) as gateway:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.addresses[0].port)
        writer.write(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n" + request_head)
        assert (await reader.readline()).endswith(b"200 OK\r\n")
        await asyncio.wait_for(reader.read(), 30)  # to the end of the connection: the default is 75 s
        writer.close()
