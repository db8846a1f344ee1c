"""The Ollama listener over a real socket: what only shows there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from aiohttp.test_utils import TestClient, TestServer

from backends.base import BackendState
from gateway.app import build_app
from gateway.config import parse
from gateway.models import ModelRegistry
from gateway.traffic import Traffic
from tests.adapters.ollama_tools import CHAT, NDJSON
from tests.fakes import ScriptedBackend

CONFIG = parse("listeners: [{port: 0, persona: ollama}]\nmodels: {m: {backend: engine, aliases: [n]}}", "test", {})
Client = TestClient[Any, Any]


@pytest.fixture
def backend() -> ScriptedBackend:
    return ScriptedBackend()


@pytest.fixture
async def client(backend: ScriptedBackend) -> AsyncIterator[Client]:
    models = ModelRegistry(CONFIG, {"m": backend})
    models.start()
    app = build_app("ollama", models, Traffic(), CONFIG)
    async with TestClient(TestServer(app)) as client:
        yield client
    await models.stop()


async def chunks_of(response: Any) -> list[bytes]:
    """The body as it was cut."""
    chunks, chunk = [], b""
    async for data, is_end in response.content.iter_chunks():
        chunk += data
        if is_end and chunk:  # aiohttp may report the body's end as an empty one
            chunks.append(chunk)
            chunk = b""
    return chunks


async def until_state(backend: ScriptedBackend, state: BackendState) -> None:
    for _ in range(1000):
        if backend.state is state:
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"the backend is still {backend.state}")


async def test_a_line_is_a_chunk(client: Client) -> None:
    for path, body in (
        ("/api/chat", CHAT),
        ("/api/generate/", {"model": "m", "prompt": "hi"}),
        ("/api/pull", {"model": "m"}),
    ):
        response = await client.post(path, data=orjson.dumps(body))
        assert response.headers["Content-Type"] == NDJSON
        chunks = await chunks_of(response)
        assert len(chunks) > 3
        assert all(chunk.endswith(b"}\n") and chunk.count(b"\n") == 1 for chunk in chunks)


async def test_probes_by_head(client: Client) -> None:
    for path in ("/", "/api/version", "/api/tags"):
        response = await client.head(path)
        assert (response.status, await response.read()) == (200, b"")


async def test_a_foreign_host_name_is_turned_away(client: Client) -> None:
    response = await client.get("/api/tags", headers={"Host": "evil.example.com"})
    assert (response.status, await response.read()) == (403, b"")


async def test_pages_are_answered_by_where_they_come_from(client: Client) -> None:
    response = await client.get("/api/tags", headers={"Origin": "vscode-webview://x"})
    assert (response.status, response.headers["Access-Control-Allow-Origin"]) == (200, "vscode-webview://x")
    response = await client.get("/api/tags", headers={"Origin": "https://evil.example.com"})
    assert (response.status, await response.read()) == (403, b"")
    response = await client.options("/api/chat", headers={"Origin": "http://localhost:3000"})
    assert (response.status, response.headers["Access-Control-Allow-Origin"]) == (204, "http://localhost:3000")


async def test_what_nobody_honours_comes_back_in_a_header(client: Client) -> None:
    response = await client.post("/api/chat", json=CHAT | {"options": {"num_ctx": 5}})
    assert response.headers["X-Dragoman-Ignored"] == "options.num_ctx"


async def test_a_copy_lives_until_it_is_deleted(client: Client) -> None:
    assert (await client.post("/api/copy", json={"source": "m", "destination": "mine"})).status == 200
    listed = await (await client.get("/api/tags")).json()
    assert [model["name"] for model in listed["models"]] == ["m", "n", "mine"]
    response = await client.post("/api/chat", json=CHAT | {"model": "mine:latest", "stream": False})
    assert (await response.json())["model"] == "mine:latest"
    assert (await client.delete("/api/delete", json={"model": "mine"})).status == 200
    assert (await client.post("/api/show", json={"model": "mine"})).status == 404
    assert (await client.delete("/api/delete", json={"model": "n"})).status == 403
    assert (await client.post("/api/copy", json={"source": "m", "destination": "n"})).status == 200, "it is m already"


async def test_a_model_is_unloaded_and_loaded_again(client: Client, backend: ScriptedBackend) -> None:
    await until_state(backend, BackendState.READY)
    response = await client.post("/api/generate", json={"model": "m", "keep_alive": 0})
    assert (await response.json())["done_reason"] == "unload"
    await until_state(backend, BackendState.STOPPED)
    assert await (await client.get("/api/ps")).json() == {"models": []}
    response = await client.post("/api/chat", json=CHAT | {"stream": False})
    assert (await response.json())["done_reason"] == "stop"
    await until_state(backend, BackendState.READY)
    (running,) = (await (await client.get("/api/ps")).json())["models"]
    assert running["expires_at"] > "2300", "what was asked for ended when it was unloaded"


@pytest.mark.parametrize(
    ("state", "names"), [("starting", ["m"]), ("ready", ["m"]), ("stopping", []), ("failed", []), ("stopped", [])]
)
async def test_a_model_runs_from_when_it_is_loading(
    client: Client, backend: ScriptedBackend, state: str, names: list[str]
) -> None:
    await until_state(backend, BackendState.READY)
    backend.state = BackendState(state)
    running = (await (await client.get("/api/ps")).json())["models"]
    assert [model["name"] for model in running] == names


async def test_a_request_with_keep_alive_zero_is_answered_first(client: Client, backend: ScriptedBackend) -> None:
    response = await client.post("/api/chat", json=CHAT | {"keep_alive": 0})
    assert orjson.loads((await chunks_of(response))[-1])["done"]
    await until_state(backend, BackendState.STOPPED)


async def test_keep_alive_moves_the_expiry(client: Client) -> None:
    await client.post("/api/generate", json={"model": "m", "keep_alive": "10m"})
    (running,) = (await (await client.get("/api/ps")).json())["models"]
    assert running["expires_at"] < "2300"


async def test_blobs(client: Client) -> None:
    (model, _) = (await (await client.get("/api/tags")).json())["models"]
    assert (await client.head(f"/api/blobs/sha256:{model['digest']}")).status == 200
    assert (await client.head(f"/api/blobs/sha256:{'0' * 64}")).status == 404
