"""What a server's model can, found out by asking: each kind of server tells it in a way of its own.

Where none tells, a question is asked that is refused in any case, and the refusal shows which check it failed at. Wire
facts: vllm renderers/online_renderer.py and renderers/chat_utils.py; llama.cpp tools/server/README.md (GET /props) and
server-context.cpp (embeddings); ollama docs/api.md (POST /api/show); lmstudio.ai/docs/developer/rest/endpoints.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from backends.errors import DragomanError, Unauthorized
from backends.facts import Facts
from backends.upstream import Upstream
from backends.upstream_errors import WorkerLost

_CHAT, _COMPLETIONS, _EMBEDDINGS = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"
_TOOL = {"type": "function", "function": {"name": "probe", "parameters": {"type": "object", "properties": {}}}}
_BLACK = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAEAAAABAAQAAAACCEkxzAAAAD0lEQVR42mNgGAWjgHwAAAJAAAHgTR1EAAAA"
    "AElFTkSuQmCC"
)
"""64 by 64 pixels: smaller ones are refused by some models that can see."""

_OLLAMA_S = ("completion", "insert", "tools", "thinking", "vision", "embedding")
_TOO_MANY = 1_000_000  # log-probabilities: refused after all that interests us was looked at


async def described(upstream: Upstream, listed: Facts, key: str | None) -> Facts:
    """listed: as /v1/models has it. key: a client's. Raises what the server answers, KeyError and its kin for
    nonsense."""
    inquiry = _Inquiry(upstream, listed, key)
    match listed.accent.name:
        case "vllm":
            return await _vllm(inquiry)
        case "sglang":
            return await _by_routes(inquiry)
        case "llamacpp":
            return await _llamacpp(inquiry)
        case "ollama":
            return await _ollama(inquiry)
        case "openai":
            return await _lmstudio(inquiry) or await _by_routes(inquiry)


class _Inquiry:
    """Questions to one server about one model."""

    def __init__(self, upstream: Upstream, listed: Facts, key: str | None) -> None:
        self.listed = listed
        self._upstream = upstream
        self._key = key

    async def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """None where it doesn't know the question."""
        try:
            return await self._upstream.ask(method, path, body, key=self._key)
        except (WorkerLost, Unauthorized):
            raise
        except DragomanError:
            return None

    async def objection(self, path: str, body: Mapping[str, Any]) -> str:
        """What it has against a request for this model; empty where it takes it."""
        try:
            await self._upstream.ask("POST", path, {"model": self.listed.model, **body}, key=self._key)
        except DragomanError as error:
            return error.message
        return ""

    def told(self, found: Mapping[str, bool], **others: Any) -> Facts:
        """found: by capability."""
        can = frozenset(name for name, is_there in found.items() if is_there)
        return replace(self.listed, capabilities=can, lacks=frozenset(found) - can, **others)


async def _vllm(inquiry: _Inquiry) -> Facts:
    """Tools as a model chooses them need a parser that vLLM was started with; a forced one does too."""
    routes = await _routes(inquiry)
    tool = {"messages": [{"role": "user", "content": "x"}], "tools": [_TOOL], "tool_choice": "auto"}
    endless = {"logprobs": True, "top_logprobs": _TOO_MANY, "max_tokens": 1}
    refused = await inquiry.objection(_CHAT, {**tool, **endless})
    image = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": _BLACK}}]}
    found = {
        "completion": _COMPLETIONS in routes or not routes,
        "embedding": _EMBEDDINGS in routes,
        "tools": not refused or "logprobs" in refused,
        "vision": not await inquiry.objection("/tokenize", {"messages": [image]}),
    }
    return inquiry.told(found)


async def _by_routes(inquiry: _Inquiry) -> Facts:
    """FastAPI tells its routes and their fields. Whoever tells neither is left as listed. A general server has the
    route of embeddings whatever its model is (asked without need, llama-cpp-python writes a traceback into its log), so
    that it says something only where it stands alone, or where it is sglang's."""
    schema = await inquiry.ask("GET", "/openapi.json")
    if not isinstance(schema, dict):
        return inquiry.listed
    routes = schema["paths"]
    completes = _COMPLETIONS in routes or _CHAT in routes
    embeds = _EMBEDDINGS in routes and (not completes or inquiry.listed.accent.name == "sglang")
    found = {"completion": completes, "embedding": embeds}
    if _CHAT in routes and _has_field(schema, _CHAT, "tools"):
        found["tools"] = True
    return inquiry.told(found)


async def _routes(inquiry: _Inquiry) -> Mapping[str, Any]:
    """Empty where it keeps them to itself."""
    schema = await inquiry.ask("GET", "/openapi.json")
    return schema["paths"] if isinstance(schema, dict) else {}


def _has_field(schema: Mapping[str, Any], route: str, field: str) -> bool:
    wanted = schema["paths"][route]["post"]["requestBody"]["content"]["application/json"]["schema"]
    name = str(wanted.get("$ref", "")).rpartition("/")[2]
    return field in schema["components"]["schemas"].get(name, wanted).get("properties", {})


async def _llamacpp(inquiry: _Inquiry) -> Facts:
    props = await inquiry.ask("GET", "/props")
    template = props.get("chat_template") or ""
    can = props.get("chat_template_caps") or {}
    found = {
        "completion": True,
        "tools": can.get("supports_tools", "tools" in template),
        "vision": bool((props.get("modalities") or {}).get("vision")),
        "embedding": "not support" not in await inquiry.objection(_EMBEDDINGS, {"input": []}),
    }
    window = int((props.get("default_generation_settings") or {}).get("n_ctx") or inquiry.listed.window)
    return inquiry.told(found, window=window, chat_template=template)


async def _ollama(inquiry: _Inquiry) -> Facts:
    shown = await inquiry.ask("POST", "/api/show", {"model": inquiry.listed.model})
    windows = [value for key, value in (shown.get("model_info") or {}).items() if key.endswith(".context_length")]
    window = int(windows[0]) if windows else inquiry.listed.window
    can = shown.get("capabilities")
    if not can:  # those of before 2025 don't say
        return replace(inquiry.listed, window=window)
    return inquiry.told({name: name in can for name in (*can, *_OLLAMA_S)}, window=window)


async def _lmstudio(inquiry: _Inquiry) -> Facts | None:
    """None where it is another server."""
    card = await inquiry.ask("GET", f"/api/v0/models/{quote(inquiry.listed.model, safe='')}")
    kind = card.get("type") if isinstance(card, dict) else None
    if kind not in ("llm", "vlm", "embeddings"):
        return None
    found = {
        "completion": kind != "embeddings",
        "embedding": kind == "embeddings",
        "vision": kind == "vlm",
        "tools": "tool_use" in (card.get("capabilities") or ()),
    }
    window = int(card.get("loaded_context_length") or card.get("max_context_length") or inquiry.listed.window)
    return inquiry.told(found, window=window)
