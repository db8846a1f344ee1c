"""Which models there are, and how the server is: /v1/models, the engines of 2022, /health, /version, /ping.

Wire facts: openai-python `types/model.py`; vllm entrypoints/openai/models (root, parent, max_model_len, permission) and
entrypoints/serve/instrumentator; openai-python v0.28 `api_resources/engine.py`.
"""

from __future__ import annotations

from typing import Any

from adapters.base import Call, Reply, Served
from adapters.framing import to_json
from backends.base import BackendState
from backends.errors import BackendFailed, NotReady, UnknownModel

VLLM_VERSION = "0.32.0"
"""Whose API this persona speaks. Tools choose by it which fields they may send."""


async def models(call: Call) -> Reply:
    """Codex CLI asks with `?client_version=` and reads `models`, where an empty list leaves it its own."""
    body: dict[str, Any] = {"object": "list", "data": [model_card(served) for served in call.models.all()]}
    if "client_version" in call.query:
        body["models"] = []
    return Reply(to_json(body))


async def model(call: Call) -> Reply:
    """Raises UnknownModel."""
    return Reply(to_json(model_card(_named(call))))


async def engines(call: Call) -> Reply:
    return Reply(to_json({"object": "list", "data": [_engine(served) for served in call.models.all()]}))


async def engine(call: Call) -> Reply:
    """Raises UnknownModel."""
    return Reply(to_json(_engine(_named(call))))


async def health(call: Call) -> Reply:
    """200 once the default model can answer. A body, because some probes pipe it through a JSON tool.

    Raises NotReady while it loads and BackendFailed when it broke.
    """
    backend = call.models.resolve(None).backend
    match backend.state:
        case BackendState.STARTING:
            raise NotReady(f"the model is loading: {backend.phase}", retry_after_s=backend.ready_in_s)
        case BackendState.FAILED:
            raise BackendFailed(f"the model failed: {backend.phase}")
        case BackendState.READY | BackendState.STOPPED | BackendState.STOPPING:
            return Reply(b'{"status":"ok"}')


async def version(_call: Call) -> Reply:
    return Reply(to_json({"version": VLLM_VERSION}))


async def ping(_call: Call) -> Reply:
    """SageMaker's probe reads the status, KoboldCpp's the body."""
    return Reply(b'{"status":"healthy"}')


def model_card(served: Served) -> dict[str, Any]:
    created = int(served.created)
    return {
        "id": served.name,
        "object": "model",
        "created": created,
        "owned_by": "dragoman",
        "root": served.info.path or served.name,
        "parent": served.parent or None,
        "max_model_len": served.info.window,
        "permission": [_permission(served.name, created)],
        "capabilities": sorted(served.info.capabilities),
        "pooling": served.info.pooling or None,
    }


def _permission(name: str, created: int) -> dict[str, Any]:
    """Clients of 2023 read it from every model."""
    return {
        "id": f"modelperm-{name}",
        "object": "model_permission",
        "created": created,
        "allow_create_engine": False,
        "allow_sampling": True,
        "allow_logprobs": True,
        "allow_search_indices": False,
        "allow_view": True,
        "allow_fine_tuning": False,
        "organization": "*",
        "group": None,
        "is_blocking": False,
    }


def _engine(served: Served) -> dict[str, Any]:
    ready = served.backend.state is BackendState.READY
    return {
        "id": served.name,
        "object": "engine",
        "created": int(served.created),
        "owner": "dragoman",
        "permissions": None,
        "ready": ready,
    }


def _named(call: Call) -> Served:
    name = call.params["model"]
    served = call.models.find(name)
    if served is None:
        raise UnknownModel(name)
    return served
