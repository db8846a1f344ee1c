"""What a server says of itself: whose it is, which models it has, and what they can do.

Wire facts: vllm entrypoints/openai/models/protocol.py and its /openapi.json; llama.cpp tools/server/README.md (GET
/props); ollama docs/api.md (POST /api/show).
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from backends.accent import ACCENTS, Accent, AccentName, accent_of
from backends.errors import BackendFailed, DragomanError
from backends.upstream import Upstream
from backends.upstream_errors import WorkerLost


@dataclass(frozen=True, slots=True)
class Facts:
    """model: what it is called there; models: all that are there. window: 0 where the server doesn't say."""

    accent: Accent
    model: str
    models: tuple[str, ...] = ()
    window: int = 0
    capabilities: frozenset[str] = frozenset({"completion"})
    chat_template: str = ""


async def read_facts(upstream: Upstream, *, model: str | None, accent: AccentName | None) -> Facts:
    """model: the one to be used; None: the first. accent: None: as the server says.

    Raises BackendFailed when the model isn't there, WorkerLost when nobody answers in this format.
    """
    entries = _entries(await upstream.ask("GET", "/v1/models"), upstream.url)
    entry = _chosen(entries, model, upstream.url)
    facts = Facts(
        accent=ACCENTS[accent] if accent else accent_of(str(entry.get("owned_by", ""))),
        model=entry["id"],
        models=tuple(each["id"] for each in entries),
        window=int(entry.get("max_model_len") or (entry.get("meta") or {}).get("n_ctx") or 0),
    )
    with contextlib.suppress(DragomanError, KeyError, TypeError, ValueError, AttributeError):
        return await _described(upstream, facts)
    return facts  # the rest is good to know and no more


async def _described(upstream: Upstream, facts: Facts) -> Facts:
    match facts.accent.name:
        case "vllm" | "sglang":
            paths = (await upstream.ask("GET", "/openapi.json"))["paths"]
            return replace(facts, capabilities=_by_route(paths))
        case "llamacpp":
            props = await upstream.ask("GET", "/props")
            return _by_props(facts, props)
        case "ollama":
            return _by_show(facts, await upstream.ask("POST", "/api/show", {"model": facts.model}))
        case "openai":
            return facts


def _entries(listing: Any, url: str) -> list[Mapping[str, Any]]:
    data = listing.get("data") if isinstance(listing, dict) else None
    if not isinstance(data, list) or not all(isinstance(each, dict) and each.get("id") for each in data):
        raise WorkerLost(f"{url}/v1/models doesn't answer in OpenAI's format")
    return data


def _chosen(entries: list[Mapping[str, Any]], model: str | None, url: str) -> Mapping[str, Any]:
    if not entries:
        raise BackendFailed(f"{url} has no model")
    if model is None:
        return entries[0]
    for entry in entries:
        if model in (entry["id"], entry["id"].removesuffix(":latest")):
            return entry
    names = ", ".join(str(entry["id"]) for entry in entries[:20])
    raise BackendFailed(f"{url} has no model '{model}'; it has {names}")


def _by_route(paths: Mapping[str, Any]) -> frozenset[str]:
    routes = {"completion": "/v1/completions", "embedding": "/v1/embeddings"}
    return frozenset(name for name, route in routes.items() if route in paths)


def _by_props(facts: Facts, props: Mapping[str, Any]) -> Facts:
    template = props.get("chat_template") or ""
    found = {
        "completion": True,
        "tools": "tools" in template,
        "vision": bool((props.get("modalities") or {}).get("vision")),
    }
    return replace(
        facts,
        window=int((props.get("default_generation_settings") or {}).get("n_ctx") or facts.window),
        capabilities=frozenset(name for name, is_there in found.items() if is_there),
        chat_template=template,
    )


def _by_show(facts: Facts, shown: Mapping[str, Any]) -> Facts:
    windows = [value for key, value in (shown.get("model_info") or {}).items() if key.endswith(".context_length")]
    return replace(
        facts,
        window=int(windows[0]) if windows else facts.window,
        capabilities=frozenset(shown.get("capabilities") or facts.capabilities),
    )
