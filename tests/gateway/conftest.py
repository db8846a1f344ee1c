"""A gateway in front of a scripted backend: the HTTP is real, the model isn't."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

import pytest
from aiohttp.test_utils import TestClient, TestServer
from structlog.testing import capture_logs

from gateway.app import build_app
from gateway.config import Config, parse
from gateway.models import ModelRegistry
from gateway.traffic import Traffic
from tests.fakes import ScriptedBackend

Connect: TypeAlias = Callable[..., Awaitable[TestClient[Any, Any]]]
LogLines: TypeAlias = list[Any]


def config(**changes: object) -> Config:
    least = parse("listeners: [{port: 0, persona: openai}]\nmodels: {demo: {backend: engine}}", "test", {})
    return least.model_copy(update=changes)


@pytest.fixture
def traffic() -> Traffic:
    return Traffic()


@pytest.fixture
async def connect(traffic: Traffic) -> AsyncIterator[Connect]:
    """connect(backend, persona=…, refuse_unknown=…, **config) → a client of a gateway with that one model, `demo`."""
    clients: list[TestClient[Any, Any]] = []
    registries: list[ModelRegistry] = []

    async def _connect(
        backend: ScriptedBackend, persona: str = "openai", *, refuse_unknown: bool = False, **changes: object
    ) -> TestClient[Any, Any]:
        unknown = "refuse" if refuse_unknown else "default"
        settings = config(unknown_model=unknown, **changes)
        models = ModelRegistry(settings, {"demo": backend})
        models.start()
        registries.append(models)
        server = TestServer(build_app(persona, models, traffic, settings))
        await server.start_server(shutdown_timeout=0.1)
        client = TestClient(server)
        clients.append(client)
        return client

    yield _connect
    for client in clients:
        await client.close()
    for registry in registries:
        await registry.stop()


@pytest.fixture
def log_lines() -> Any:
    with capture_logs() as lines:
        yield lines
