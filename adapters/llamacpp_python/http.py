"""What surrounds every answer of llama-cpp-python's server: headers, request ids, CORS, and what isn't there.

It runs on FastAPI and uvicorn: these say most of it. Wire facts: llama-cpp-python llama_cpp/server/app.py (create_app)
and errors.py (RouteErrorHandler); starlette middleware/cors.py; starlette-context plugins/request_id.py.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from adapters.base import Call, Reply
from adapters.framing import to_json

_REQUEST_ID = "X-Request-Id"
_METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY")


def common_headers(call: Call) -> dict[str, str]:
    """On every answer but those to bodies that aren't JSON. A request id that the client brings is kept."""
    given = call.headers.get(_REQUEST_ID)
    return {"Vary": "Origin"} | ({_REQUEST_ID: given} if given else {})


def success_headers(call: Call) -> dict[str, str]:
    """Also on a stream, where the time is that until its head."""
    elapsed_ms = int(max(0.0, time.time() - call.received) * 1000)
    return {"openai-processing-ms": str(elapsed_ms)} | common_headers(call)


def json_reply(call: Call, value: Any) -> Reply:
    return Reply(to_json(value), headers=success_headers(call))


def detail_reply(call: Call, detail: str, status: int) -> Reply:
    """How FastAPI itself refuses."""
    return Reply(to_json({"detail": detail}), status, headers=common_headers(call))


def unknown_route(call: Call, nearest: str | None) -> Reply:
    return detail_reply(call, f"Not Found: did you mean {nearest}?" if nearest else "Not Found", 404)


def wrong_method(call: Call, allowed: Sequence[str]) -> Reply:
    reply = detail_reply(call, "Method Not Allowed", 405)
    return Reply(reply.body, 405, headers={**reply.headers, "Allow": ", ".join(allowed)})


def cors(origin: str | None) -> Mapping[str, str]:
    """Any page may call, with its cookies; so its own origin has to come back."""
    if origin is None:
        return {}
    return {"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Credentials": "true"}


def preflight(call: Call) -> Reply | None:
    """Only a browser asks so. The headers that it names are granted."""
    method = call.headers.get("Access-Control-Request-Method")
    if method is None or "Origin" not in call.headers:
        return None
    headers = {
        "Vary": "Origin, Access-Control-Request-Method, Access-Control-Request-Headers, "
        "Access-Control-Request-Private-Network",
        "Access-Control-Allow-Methods": ", ".join(_METHODS),
        "Access-Control-Max-Age": "600",
    }
    wanted = call.headers.get("Access-Control-Request-Headers")
    if wanted is not None:
        headers["Access-Control-Allow-Headers"] = wanted
    status, word = (200, b"OK") if method in _METHODS else (400, b"Disallowed CORS method")
    return Reply(word, status, "text/plain; charset=utf-8", headers)


def admit(call: Call) -> Reply | None:
    """A request id that is no UUID turns a request away."""
    given = call.headers.get(_REQUEST_ID)
    try:
        uuid.UUID(given or call.id)
    except ValueError:
        return Reply(status=400, content_type="", headers={"Vary": "Origin"})
    return None
