"""The dialect of the Flask server in Tenstorrent's lesson on an HTTP API: POST /chat and GET /health, nothing streamed.

Bodies are what Flask's jsonify makes: compact, keys sorted, non-ASCII escaped, a line break at the end. Wire facts:
tt-vscode-toolkit content/templates/tt-api-server-direct.py, content/lessons/api-server.md; flask json/provider.py.

Where it differs from the server on purpose: a body that is no JSON, or a field of the wrong type, is the client's fault
(400), where the server catches its own exception and says 500; and JSON is read whatever its Content-Type says.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import StrictStr

from adapters.base import Call, Dialect, Reply, Served
from adapters.body import Body
from adapters.whole import WholeExchange
from backends.base import BackendState
from backends.errors import DragomanError, InvalidRequest, MissingField
from backends.events import Completion
from backends.request import TEMPERATURE_FIRST, ChatPrompt, GenerateRequest, Message, Sampling

_TOP_P = 0.9
_ENDPOINTS = ["GET /health", "POST /chat"]
_HTML = "text/html; charset=utf-8"
_405 = (
    b"<!doctype html>\n<html lang=en>\n<title>405 Method Not Allowed</title>\n<h1>Method Not Allowed</h1>\n"
    b"<p>The method is not allowed for the requested URL.</p>\n"
)


class ChatBody(Body):
    prompt: StrictStr
    max_tokens: int = 128
    temperature: float = 0.0

    def request(self, request_id: str) -> GenerateRequest:
        """Raises InvalidRequest."""
        if not 1 <= self.max_tokens <= 2048:
            raise InvalidRequest("max_tokens must be between 1 and 2048", param="max_tokens")
        if not 0 <= self.temperature <= 2:
            raise InvalidRequest("temperature must be between 0.0 and 2.0", param="temperature")
        return GenerateRequest(
            id=request_id,
            prompts=(ChatPrompt((Message("user", self.prompt),)),),
            max_tokens=self.max_tokens,
            sampling=Sampling(
                temperature=self.temperature,
                top_k=0,
                top_p=_TOP_P,
                min_p=0.0,
                repetition_penalty=1.0,
                presence_penalty=0.0,
                frequency_penalty=0.0,
                order=TEMPERATURE_FIRST,
            ),
        )


class ChatExchange(WholeExchange):
    def __init__(self, call: Call, served: Served, body: ChatBody) -> None:
        super().__init__(served, body.request(call.id))
        self._prompt = body.prompt
        self._received = call.received

    def reply(self, completion: Completion) -> Reply:
        (choice,) = completion.ordered
        num_tokens = completion.usage.completion_tokens
        elapsed_s = max(1e-6, time.time() - self._received)
        shape = {
            "prompt": self._prompt,
            "response": choice.text.strip(),
            "tokens_generated": num_tokens,
            "time_seconds": round(elapsed_s, 2),
            "tokens_per_second": round(num_tokens / elapsed_s, 1),
        }
        return _jsonify(shape)


async def chat(call: Call) -> ChatExchange:
    return ChatExchange(call, call.models.resolve(None), ChatBody.parse(call))


async def health(call: Call) -> Reply:
    served = call.models.resolve(None)
    shape = {
        "status": "healthy",
        "model": served.name,
        "model_loaded": served.backend.state is BackendState.READY,
        "note": "Model is loaded in memory for fast inference",
    }
    return _jsonify(shape)


def error_reply(error: DragomanError, _call: Call) -> Reply:
    match error:
        case MissingField(param="prompt"):
            return _jsonify({"error": "Missing 'prompt' in request body"}, 400)
        case _:
            return _jsonify({"error": error.message}, error.status)


def unknown_route(_call: Call, _nearest: str | None) -> Reply:
    return _jsonify({"error": "Endpoint not found", "available_endpoints": _ENDPOINTS}, 404)


def wrong_method(_call: Call, allowed: Sequence[str]) -> Reply:
    return Reply(_405, 405, _HTML, {"Allow": _allow(allowed)})


def preflight(call: Call) -> Reply:
    """Flask answers OPTIONS itself; it has no CORS."""
    return Reply(b"", 200, _HTML, {"Allow": _allow(["GET"] if call.path.rstrip("/") == "/health" else ["POST"])})


def _allow(methods: Sequence[str]) -> str:
    return ", ".join(sorted({*methods, *(["HEAD"] if "GET" in methods else []), "OPTIONS"}))


def cors(_origin: str | None) -> Mapping[str, str]:
    return {}


def _jsonify(value: dict[str, Any], status: int = 200) -> Reply:
    return Reply(json.dumps(value, sort_keys=True, separators=(",", ":")).encode() + b"\n", status)


DIALECT = Dialect(
    name="tenstorrent",
    verbs={"chat": chat, "health": health},
    error=error_reply,
    unknown_route=unknown_route,
    wrong_method=wrong_method,
    preflight=preflight,
    cors=cors,
    headers={"Server": "Werkzeug"},
    public=frozenset({"health"}),
)
