from __future__ import annotations

import pytest
from multidict import CIMultiDict

from gateway.control import danger
from tests.fakes import ScriptedBackend
from tests.gateway.conftest import Connect

HERE = {"Host": "localhost:8000"}


@pytest.mark.parametrize(
    ("remote", "headers"),
    [
        ("127.0.0.1", HERE),
        ("::1", {"Host": "[::1]:8000"}),
        ("::ffff:127.0.0.1", {"Host": "127.0.0.1"}),
        ("127.0.0.1", {**HERE, "Origin": "http://localhost:8000"}),
    ],
)
def test_this_machine_is_answered(remote: str, headers: dict[str, str]) -> None:
    assert danger(remote, CIMultiDict(headers)) is None


@pytest.mark.parametrize(
    ("remote", "headers", "why"),
    [
        ("192.168.1.7", HERE, "this machine alone"),
        (None, HERE, "this machine alone"),
        ("127.0.0.1", {"Host": "evil.example:8000"}, "by the name localhost"),  # DNS rebinding
        ("127.0.0.1", {"Host": "evil.example:8000", "Origin": "http://evil.example:8000"}, "by the name localhost"),
        ("127.0.0.1", {"Host": "localhost.evil.example"}, "by the name localhost"),
        ("127.0.0.1", {"Host": "[::1"}, "by the name localhost"),
        ("127.0.0.1", {}, "by the name localhost"),
        ("127.0.0.1", {**HERE, "Origin": "https://evil.example"}, "no page of another site"),
        ("127.0.0.1", {**HERE, "Origin": "http://localhost:3000"}, "no page of another site"),
        ("127.0.0.1", {**HERE, "Origin": "null"}, "no page of another site"),  # a page from a file, or in a sandbox
    ],
)
def test_nobody_else_is(remote: str | None, headers: dict[str, str], why: str) -> None:
    assert why in (danger(remote, CIMultiDict(headers)) or "")


async def test_a_foreign_page_is_refused_on_the_wire(connect: Connect) -> None:
    client = await connect(ScriptedBackend())
    answer = await client.get("/gateway/models", headers={"Origin": "https://evil.example"})
    assert answer.status == 403
    assert (await answer.json())["error"]["code"] == "forbidden"


async def test_it_tells_the_models_and_what_they_are_doing(connect: Connect) -> None:
    client = await connect(ScriptedBackend())
    answer = await client.get("/gateway/models")
    assert (await answer.json())["models"] == [{"name": "demo", "aliases": [], "state": "ready", "phase": "ready"}]


async def test_it_serves_a_worker_s_log(connect: Connect) -> None:
    backend = ScriptedBackend()
    backend.log = ("Loading model", "ready")
    client = await connect(backend)
    answer = await client.get("/gateway/models/demo/log")
    assert await answer.text() == "Loading model\nready\n"
    assert (await client.get("/gateway/models/other/log")).status == 404


async def test_an_unknown_route_names_those_that_there_are(connect: Connect) -> None:
    client = await connect(ScriptedBackend())
    answer = await client.get("/gateway/modles")
    assert answer.status == 404
    message = (await answer.json())["error"]["message"]
    assert "GET /gateway/models, GET /gateway/models/{model}/log" in message
