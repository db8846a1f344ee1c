"""Runs one request of a client against a gateway whose model is scripted, as the client would send it."""

from __future__ import annotations

import asyncio
import importlib
import pkgutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import ClientResponse, ClientSession
from aiohttp.test_utils import TestServer

import tests.clients
from backends.base import Slot
from gateway.app import build_app
from gateway.config import parse
from gateway.models import ModelRegistry
from gateway.traffic import Traffic
from tests.clients.client import KINDS, SAID, Answer, Ask, Client
from tests.fakes import Hangs, ScriptedBackend

CONFIG = parse("listeners: [{port: 0, persona: openai}]\nmodels: {demo: {backend: engine}}", "clients", {})
_PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class Case:
    """A request on one of its client's listeners. leaves: the client goes away in the middle of the answer."""

    client: Client
    ask: Ask
    listener: str
    leaves: bool = False

    @property
    def column(self) -> str:
        return "cancel" if self.leaves else self.ask.kind

    def __str__(self) -> str:
        return f"{self.client.name} {self.column} {self.ask.path} on {self.listener}"


COLUMNS = (*KINDS, "cancel")


def all_clients() -> list[Client]:
    found: list[Client] = []
    for module in pkgutil.iter_modules(tests.clients.__path__, "tests.clients."):
        if not module.name.startswith(("tests.clients.__", "tests.clients.test_")):
            loaded = importlib.import_module(module.name)
            found += getattr(loaded, "CLIENTS", [loaded.CLIENT] if hasattr(loaded, "CLIENT") else [])
    return sorted(found, key=lambda client: client.name.lower())


def cases(client: Client) -> Iterator[Case]:
    for listener in client.listeners:
        for ask in client.asks:
            yield Case(client, ask, listener)
        last = [ask for ask in client.asks if ask.kind != "probe"][-1]
        yield Case(client, last, listener, leaves=True)


async def run(case: Case) -> None:
    """Raises where the client would fail, or read anything but what the model said."""
    backend = ScriptedBackend(
        fault=Hangs(after=3) if case.leaves else None, slots=[Slot(number) for number in range(4)]
    )
    async with _gateway(case.listener, backend) as url, ClientSession(auto_decompress=False) as session:
        if case.leaves:
            await _leave(session, url, case.ask, backend)
            return
        async with _sent(session, url, case.ask) as response:
            answer = await _read(response)
    assert answer.status == 200, answer.text
    shown = case.ask.reads(answer)
    assert case.ask.kind == "probe" or shown == SAID, shown


@asynccontextmanager
async def _gateway(persona: str, backend: ScriptedBackend) -> AsyncIterator[str]:
    models = ModelRegistry(CONFIG, {"demo": backend})
    models.start()
    server = TestServer(build_app(persona, models, Traffic(), CONFIG))
    await server.start_server(shutdown_timeout=0.1)
    try:
        yield str(server.make_url("/")).rstrip("/")
    finally:
        await server.close()
        await models.stop()


@asynccontextmanager
async def _sent(session: ClientSession, url: str, ask: Ask) -> AsyncIterator[ClientResponse]:
    """With the client's own headers and no others."""
    content = ask.content
    data = _in_halves(content) if ask.is_chunked and content is not None else content
    unasked = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
    async with session.request(
        ask.method, url + ask.path, data=data, headers=ask.headers, skip_auto_headers=unasked, allow_redirects=False
    ) as response:
        yield response


async def _in_halves(content: bytes) -> AsyncIterator[bytes]:
    half = len(content) // 2
    yield content[:half]
    yield content[half:]


async def _read(response: ClientResponse) -> Answer:
    chunks, chunk = [], b""
    async for data, ends in response.content.iter_chunks():
        chunk += data
        if ends:
            chunks.append(chunk)
            chunk = b""
    return Answer(response.status, response.headers, [chunk for chunk in (*chunks, chunk) if chunk])


async def _leave(session: ClientSession, url: str, ask: Ask, backend: ScriptedBackend) -> None:
    """In the middle of the answer, streamed or not: the generation must end."""

    async def ask_on() -> None:
        async with _sent(session, url, ask) as response:
            await response.read()

    asking = asyncio.ensure_future(ask_on())
    await _until(lambda: bool(backend.requests))
    asking.cancel()
    await asyncio.wait([asking])
    await _until(lambda: backend.num_closed == 1)


async def _until(condition: Callable[[], bool]) -> None:
    deadline = asyncio.get_running_loop().time() + _PATIENCE_S
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "the generation goes on for nobody"
        await asyncio.sleep(0.005)
