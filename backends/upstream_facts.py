"""What a server says of itself: whose it is, which model it has, and what that can do.

Wire facts: vllm entrypoints/openai/models/protocol.py (a LoRA is listed with the model that it belongs to as `parent`;
sglang does the same).
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from backends.accent import ACCENTS, AccentName, accent_of
from backends.errors import BackendFailed, DragomanError
from backends.facts import Facts
from backends.upstream import Upstream
from backends.upstream_abilities import described
from backends.upstream_errors import WorkerLost


async def read_facts(
    upstream: Upstream,
    *,
    model: str | None,
    accent: AccentName | None,
    key: str | None = None,
    known: Facts | None = None,
) -> Facts:
    """model: the one to be used; None: the first. accent: None: as the server says. key: a client's. known: what it
    said the last time: while it lists the same, it isn't asked for the rest again.

    Raises BackendFailed when the model isn't there, WorkerLost when nobody answers in this format, Unauthorized.
    """
    entries = _entries(await upstream.ask("GET", "/v1/models", key=key), upstream.url)
    listed = _listed(entries, _chosen(entries, model, upstream.url), accent)
    if known is not None and known.is_whole and known.lists_as(listed):
        return known
    with contextlib.suppress(DragomanError, KeyError, TypeError, ValueError, AttributeError):
        return await described(upstream, listed, key)
    return replace(listed, is_whole=False)  # the rest is good to know and no more


def _listed(entries: Sequence[Mapping[str, Any]], entry: Mapping[str, Any], accent: AccentName | None) -> Facts:
    return Facts(
        accent=ACCENTS[accent] if accent else accent_of(str(entry.get("owned_by", ""))),
        model=entry["id"],
        adapters=tuple(each["id"] for each in entries if each.get("parent") == entry["id"]),
        window=int(entry.get("max_model_len") or (entry.get("meta") or {}).get("n_ctx") or 0),
    )


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
