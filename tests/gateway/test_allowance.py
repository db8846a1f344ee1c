"""Limits of one client, over HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from gateway.config import Limits, Quota, parse
from gateway.document import ConfigError
from tests.fakes import Hangs, ScriptedBackend
from tests.gateway.conftest import Connect
from tests.gateway.test_handler import until

ASK = {"messages": [{"role": "user", "content": "hi"}]}
CHAT = "/v1/chat/completions"
LEAST = "listeners: [{port: 0, persona: openai}]\nmodels: {demo: {backend: engine}}\n"


def limits(**quota: object) -> Limits:
    return Limits(client=Quota.model_validate(quota))


def keys(**quota: object) -> Any:
    text = LEAST + "keys: {alice: {key: ka}, bob: {key: kb}}\n"
    parsed = dict(parse(text, "x", {}).keys)
    return parsed | {"bob": parsed["bob"].model_copy(update={"limits": Quota.model_validate(quota)})}


def ask(client: TestClient[Any, Any], key: str = "", **more: object) -> asyncio.Task[Any]:
    async def send() -> Any:
        headers = {"Authorization": f"Bearer {key}"}
        async with client.post(CHAT, json=ASK | more, headers=headers) as response:
            return response.status, dict(response.headers), await response.json()

    return asyncio.ensure_future(send())


async def test_a_client_s_own_requests_wait_and_others_go_on(connect: Connect) -> None:
    backend = ScriptedBackend(fault=Hangs(after=2))
    client = await connect(backend, keys=keys(), limits=limits(concurrent=1, queued=1))
    first, second = ask(client, "ka"), ask(client, "ka")
    await until(lambda: len(backend.requests) == 1)
    status, headers, body = await ask(client, "ka")
    assert (status, body["error"]["code"], headers["Retry-After"]) == (429, "rate_limit_exceeded", "1")
    other = ask(client, "kb")
    await until(lambda: len(backend.requests) == 2)
    first.cancel()
    await until(lambda: len(backend.requests) == 3)
    assert not second.done()
    for task in (second, other):
        task.cancel()


async def test_who_gives_up_waiting_leaves_no_trace(connect: Connect) -> None:
    backend = ScriptedBackend(fault=Hangs(after=2))
    client = await connect(backend, limits=limits(concurrent=1, queued=1))
    first, second = ask(client), ask(client)
    await until(lambda: len(backend.requests) == 1)
    second.cancel()
    first.cancel()
    await until(lambda: backend.num_closed == 1)
    backend.fault = None
    assert (await ask(client))[0] == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [(CHAT, 429), ("/v1/messages", 429), ("/api/chat", 429), ("/completion", 503), ("/generate", 429)],
)
async def test_spent_tokens_are_refused_in_every_dialect(connect: Connect, path: str, status: int) -> None:
    client = await connect(ScriptedBackend(), limits=limits(tokens_per_minute=5))
    assert (await ask(client))[0] == 200
    body = ASK | {"model": "demo", "max_tokens": 5, "prompt": "a", "inputs": "a"}
    response = await client.post(path, json=body)
    assert response.status == status, await response.text()
    assert int(response.headers["Retry-After"]) > 1


async def test_embeddings_are_paid_for_too(connect: Connect) -> None:
    client = await connect(ScriptedBackend(), limits=limits(tokens_per_minute=5))
    assert (await client.post("/v1/embeddings", json={"input": ["some", "text"]})).status == 200
    assert (await ask(client))[0] == 429


@pytest.mark.parametrize("path", ["/v1/embeddings", "/embedding", "/api/embed", "/api/embeddings"])
async def test_an_embedding_takes_one_place_and_no_more(connect: Connect, path: str) -> None:
    """Two, one inside the other, would wait for each other for ever."""
    client = await connect(ScriptedBackend(), limits=limits(concurrent=1))
    body = {"model": "demo", "input": "a", "prompt": "a", "content": "a"}
    response = await asyncio.wait_for(client.post(path, json=body), 10)
    assert response.status == 200, await response.text()


async def test_an_answer_is_cut_to_what_the_client_may_have(connect: Connect) -> None:
    backend = ScriptedBackend()
    client = await connect(backend, keys=keys(max_tokens=3), limits=limits(max_tokens=7))
    for key in ("ka", "kb"):
        for wanted in ({}, {"max_tokens": 100}, {"max_tokens": 2}):
            assert (await ask(client, key, **wanted))[0] == 200
    assert [request.max_tokens for request in backend.requests] == [7, 7, 2, 3, 3, 2]


async def test_a_client_sees_and_gets_its_own_models_only(connect: Connect) -> None:
    client = await connect(ScriptedBackend(), keys=keys(models=()))
    for key, count, status in (("ka", 1, 200), ("kb", 0, 403)):
        headers = {"Authorization": f"Bearer {key}"}
        listed = await (await client.get("/v1/models", headers=headers)).json()
        assert len(listed["data"]) == count
        assert (await client.get("/v1/models/demo", headers=headers)).status == (200 if count else 404)
        for path in (CHAT, "/tokenize", "/v1/embeddings"):
            body = ASK | {"model": "demo", "prompt": "a", "input": "a"}
            assert (await client.post(path, json=body, headers=headers)).status == status, path


@pytest.mark.parametrize(
    "where", ["limits: {client: {models: [gone]}}", "keys: {a: {key: k, limits: {models: [gone]}}}"]
)
def test_a_model_that_is_not_there_is_named(where: str) -> None:
    with pytest.raises(
        ConfigError, match=r"(limits\.client|keys\.a\.limits)\.models: no model or alias is called 'gone'"
    ):
        parse(LEAST + where, "x", {})
