"""Which models there are, in both versions, and loading and unloading them. Nothing is ever downloaded.

Wire facts: lmstudio.ai/docs/developer/rest: endpoints (v0), list, load, unload, download, download-status (v1).
"""

from __future__ import annotations

import time
from typing import Any

from pydantic import StrictStr

from adapters.base import Call, Reply, Served
from adapters.body import Body
from adapters.framing import to_json
from adapters.lmstudio.errors import UnknownJob
from adapters.lmstudio.shapes import card_v0, card_v1, is_embedding, load_config
from adapters.openai.models import model_card
from backends.errors import UnknownModel, Unsupported


class LoadBody(Body):
    """How a model is loaded is the config's affair: these are reported as ignored."""

    tolerated = frozenset(
        {"context_length", "eval_batch_size", "flash_attention", "num_experts", "offload_kv_cache_to_gpu"}
    )

    model: StrictStr
    echo_load_config: bool = False
    context_length: int | None = None
    eval_batch_size: int | None = None
    flash_attention: bool | None = None
    num_experts: int | None = None
    offload_kv_cache_to_gpu: bool | None = None


class UnloadBody(Body):
    instance_id: StrictStr


async def models_v0(call: Call) -> Reply:
    return Reply(to_json({"object": "list", "data": [card_v0(served) for served in call.models.all()]}))


async def model_v0(call: Call) -> Reply:
    """Raises UnknownModel."""
    return Reply(to_json(card_v0(_named(call, call.params["model"]))))


async def models_v1(call: Call) -> Reply:
    """Lemonade and OpenRouter have OpenAI's list at this path: here are both."""
    served = call.models.all()
    body = {"models": [card_v1(x) for x in served], "object": "list", "data": [model_card(x) for x in served]}
    return Reply(to_json(body))


async def load(call: Call) -> Reply:
    """Raises UnknownModel, NotReady or BackendFailed."""
    body = LoadBody.parse(call)
    served = _named(call, body.model)
    began = time.monotonic()
    async with call.models.acquire(served):
        shape: dict[str, Any] = {
            "type": "embedding" if is_embedding(served) else "llm",
            "instance_id": served.name,
            "load_time_seconds": round(time.monotonic() - began, 3),
            "status": "loaded",
        }
    if body.echo_load_config:
        shape["load_config"] = load_config(served)
    return Reply(to_json(shape))


async def unload(call: Call) -> Reply:
    """As soon as nobody uses it. Raises UnknownModel."""
    served = _named(call, UnloadBody.parse(call).instance_id)
    call.models.keep_alive(served, 0)
    return Reply(to_json({"instance_id": served.name}))


async def download(_call: Call) -> Reply:
    """Raises Unsupported."""
    raise Unsupported("models are given by the configuration: none is downloaded", feature="download")


async def download_status(_call: Call) -> Reply:
    """Raises UnknownJob."""
    raise UnknownJob("there are no downloads here")


def _named(call: Call, name: str) -> Served:
    served = call.models.find(name)
    if served is None:
        raise UnknownModel(name)
    return served
