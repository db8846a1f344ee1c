"""Who has been seen: the store, what the control plane tells of it, and what `dragoman clients` prints."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from gateway.cli import main
from gateway.client import Client
from gateway.clients import table
from gateway.config import parse
from gateway.routes import Route
from gateway.seen import Clients
from tests.fakes import ScriptedBackend
from tests.gateway.conftest import Connect, LogLines

EDITOR = {"User-Agent": "editor/1.0"}
LEAST = "listeners: [{{port: {port}, persona: openai}}]\nmodels: {{demo: {{backend: engine}}}}\n"
ASK = {"model": "demo", "messages": [{"role": "user", "content": "Hi"}]}


async def seen(client: TestClient[Any, Any]) -> Any:
    return (await (await client.get("/gateway/clients")).json())["clients"]


async def test_a_client_is_seen_with_its_dialects_routes_errors_and_ignored_fields(connect: Connect) -> None:
    client = await connect(ScriptedBackend())
    await client.post("/v1/chat/completions", json=ASK | {"frobnicate": 1}, headers=EDITOR)
    await client.post("/api/chat", json=ASK, headers=EDITOR)
    await client.post("/v1/chat/completions", data=b"{", headers=EDITOR)
    (editor,) = await seen(client)
    assert (editor["agent"], editor["requests"]) == ("editor/1.0", 3)
    assert editor["dialects"] == {"ollama": 1, "openai": 2}
    assert editor["routes"] == {"POST /api/chat": 1, "POST /v1/chat/completions": 2}
    assert editor["ignored"] == {"frobnicate": 1}
    ((error, count),) = editor["errors"].items()
    assert error.startswith("400 ")
    assert count == 1


async def test_a_wrong_method_is_an_error_that_names_it(connect: Connect) -> None:
    client = await connect(ScriptedBackend())
    await client.get("/v1/completions")
    (somebody,) = await seen(client)
    assert somebody["errors"] == {"405 GET /v1/completions": 1}


@pytest.mark.parametrize("persona", ["openai", "llamacpp", "llamacpp-python", "ollama", "anthropic", "tgi"])
async def test_an_unknown_route_is_a_lead(connect: Connect, log_lines: LogLines, persona: str) -> None:
    client = await connect(ScriptedBackend(), persona)
    for _ in range(2):
        response = await client.post("/v1/chat/completion", json=ASK, headers=EDITOR)
        assert response.status == 404
        assert response.headers["X-Dragoman-Nearest"] == "POST /v1/chat/completions"
    (editor,) = await seen(client)
    assert editor["unknown"] == [
        {"route": "POST /v1/chat/completion", "count": 2, "config": "routes: {'/v1/chat/completion': openai.chat}"}
    ]
    (line,) = [line for line in log_lines if line["event"] == "unknown route"]
    assert (line["client"], line["nearest"]) == ("127.0.0.1 editor/1.0", "POST /v1/chat/completions")


@pytest.mark.parametrize(
    ("persona", "told"),
    [
        ("openai", '"message":"Invalid URL (POST /v1/chat/completion). Did you mean POST /v1/chat/completions?"'),
        ("llamacpp", '"message":"File Not Found: did you mean POST /v1/chat/completions?"'),
        ("llamacpp-python", '{"detail":"Not Found: did you mean POST /v1/chat/completions?"}'),
        ("textgen", '{"detail":"Not Found: did you mean POST /v1/chat/completions?"}'),
        ("fauxpilot", '{"detail":"Not Found: did you mean POST /v1/chat/completions?"}'),
        ("anthropic", '"message":"Not found: did you mean POST /v1/chat/completions?"'),
        ("ollama", "404 page not found"),
    ],
)
async def test_the_personas_own_404_names_the_nearest_where_it_has_words(
    connect: Connect, persona: str, told: str
) -> None:
    client = await connect(ScriptedBackend(), persona)
    assert told in await (await client.post("/v1/chat/completion", json=ASK)).text()
    plain = await client.post("/nothing/of/the/kind", json=ASK)
    assert "did you mean" not in (await plain.text()).lower()
    assert "X-Dragoman-Nearest" not in plain.headers


async def test_the_line_that_is_proposed_serves_the_route(connect: Connect) -> None:
    lost = await connect(ScriptedBackend())
    await lost.post("/it's/chat/completion", json=ASK)
    ((unknown,),) = [client["unknown"] for client in await seen(lost)]
    proposed = _loaded(unknown["config"])
    client = await connect(ScriptedBackend(), routes=proposed)
    assert (await client.post("/it's/chat/completion", json=ASK)).status == 200


def _loaded(line: str) -> Any:
    return parse(LEAST.format(port=1) + line, "x", {}).routes


def test_the_store_is_bounded() -> None:
    clients = Clients()
    for number in range(300):
        agent = Client("::1", f"agent {number}")
        clients.note(agent, "POST /x", "a.b", now=1.0, status=200, error="", ignored=["f" * 999])
    everybody = list(clients.all())
    assert len(everybody) == 200
    assert everybody[0].client.agent == "agent 299"
    assert all(len(name) <= 200 for seen in everybody for name in seen.ignored.counts)
    one = Client("::1", "agent 299")
    for number in range(60):
        clients.note_unknown(one, "POST", f"/{number}", Route("POST", "/y", "a.b"), now=2.0)
    assert len(everybody[0].unknown.counts) == len(everybody[0].mappings) == 50


def test_the_table_says_who_and_what_would_help() -> None:
    clients = Clients()
    editor = Client("127.0.0.1", "editor/1.0")
    clients.note(editor, "POST /x", "openai.chat", now=5.0, status=400, error="no 'messages'", ignored=["frobnicate"])
    clients.note_unknown(editor, "POST", "/y", Route("POST", "/x", "openai.chat"), now=6.0)
    assert table([seen.to_json() for seen in clients.all()], now=9.0).splitlines() == [
        "127.0.0.1 editor/1.0: 1 requests, the last 3 s ago",
        "  dialects       1  openai",
        "  routes         1  POST /x",
        "  errors         1  400 no 'messages'",
        "  ignored        1  frobnicate",
        "  unknown        1  POST /y  to serve it, in the config: routes: {'/y': openai.chat}",
    ]
    assert table([]) == "Nobody has been seen yet."


def test_without_a_gateway_the_command_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(LEAST.format(port=1))
    assert main(["clients", "--config", str(path)]) == 1
    assert "no gateway answers at http://127.0.0.1:1/gateway/clients" in capsys.readouterr().err


async def test_the_command_asks_the_running_gateway(connect: Connect, tmp_path: Path) -> None:
    client = await connect(ScriptedBackend())
    await client.post("/v1/chat/completions", json=ASK, headers=EDITOR)
    path = tmp_path / "config.yaml"
    path.write_text(LEAST.format(port=client.port))
    command = (sys.executable, "-m", "gateway", "clients", "--config", str(path))
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    printed, _ = await process.communicate()
    assert printed.decode().startswith("127.0.0.1 editor/1.0: 1 requests")
