from __future__ import annotations

import asyncio
import json
import socket
import sys
from pathlib import Path

import aiohttp
import pytest

from gateway import listeners
from gateway.app import running
from gateway.config import Listener, load, parse
from gateway.listeners import NoListener, bind
from tests.gateway.conftest import LogLines


@pytest.fixture
def busy_port() -> object:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_busy_port_is_a_warning_and_the_rest_go_on(busy_port: int, log_lines: LogLines) -> None:
    bound = bind([Listener(port=busy_port, persona="openai"), Listener(port=0, persona="ollama")])
    for _, sock in bound:
        sock.close()
    assert [listener.persona for listener, _ in bound] == ["ollama"]
    assert [line["event"] for line in log_lines] == [f"port {busy_port} is in use: no openai listener"]


async def test_no_free_port_at_all_is_an_error(busy_port: int, log_lines: LogLines) -> None:
    text = f"listeners: [{{port: {busy_port}, persona: openai}}]\nmodels: {{demo: {{backend: engine}}}}"
    with pytest.raises(NoListener, match=str(busy_port)):
        async with running(parse(text, "test", {})):
            pass


async def test_every_listener_answers_every_dialect_with_one_model() -> None:
    text = """
    listeners: [{port: 0, persona: openai}, {port: 0, persona: llamacpp}, {port: 0, persona: ollama}]
    models: {demo: {backend: engine}}
    """
    async with running(parse(text, "test", {})) as gateway, aiohttp.ClientSession() as session:
        assert [address.persona for address in gateway.addresses] == ["openai", "llamacpp", "ollama"]
        for address in gateway.addresses:
            for path, body in (
                (
                    "/v1/chat/completions",
                    {"model": "demo", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1},
                ),
                ("/completion", {"prompt": "def", "n_predict": 1}),
                ("/api/generate", {"model": "demo", "prompt": "def", "options": {"num_predict": 1}}),
            ):
                async with session.post(address.url + path, json=body) as response:
                    assert response.status == 200, await response.text()
                    assert "aiohttp" not in response.headers.get("Server", "")


async def test_the_sockets_are_let_go_at_the_end() -> None:
    text = "listeners: [{port: 0, persona: openai}]\nmodels: {demo: {backend: engine}}"
    async with running(parse(text, "test", {})) as gateway:
        port = gateway.addresses[0].port
    with socket.create_server(("127.0.0.1", port)):
        pass


@pytest.mark.parametrize(("drain_s", "num_words"), [(60, 100), (0, 100_000)])
async def test_a_listener_that_goes_ends_its_answers_within_the_drain(
    drain_s: float, num_words: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nobody comes in any more."""
    monkeypatch.setattr(listeners, "_LEAVE_S", 0.0)
    fake = Path(__file__).parents[1] / "fake_worker.py"
    model = {"backend": "server", "command": [sys.executable, str(fake), "--port", "{port}"]}
    rest = {"models": {"m": model}, "reload": {"watch": False, "drain_s": drain_s}}
    stays, goes = ({"port": 0, "persona": persona} for persona in ("openai", "ollama"))
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps({"listeners": [stays, goes], **rest}))
    async with running(load(path), path) as gateway, aiohttp.ClientSession() as session:
        address = gateway.addresses[1]
        body = {"prompt": f"slow {num_words}", "stream": True}
        async with session.post(f"{address.url}/v1/completions", json=body) as response:
            await response.content.readline()
            path.write_text(json.dumps({"listeners": [stays], **rest}))
            assert gateway.reloader
            reloading = asyncio.create_task(gateway.reloader.reload())
            if drain_s:
                assert (await response.text()).endswith("data: [DONE]\n\n")
            else:
                with pytest.raises(aiohttp.ClientPayloadError):
                    await response.text()
            await reloading
        assert [each.persona for each in gateway.addresses] == ["openai"]
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(address.url)
