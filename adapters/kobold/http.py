"""What surrounds every answer of KoboldCpp: JSON as Python's json.dumps writes it, headers, errors, what isn't there.

Wire facts: koboldcpp.py 1.115 (KcppServerRequestHandler: do_GET, do_POST, do_HEAD, do_OPTIONS, end_headers).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from adapters.base import Call, Reply
from backends.errors import (
    Busy,
    DragomanError,
    InvalidRequest,
    MalformedBody,
    NotReady,
    PromptTooLong,
    RateLimited,
    TooLarge,
    Unauthorized,
)

HEADERS: Mapping[str, str] = {"Server": "KoboldCppServer 1", "Cache-Control": "no-store"}
_HTML = "text/html"
_ALLOWED = (
    "*, Accept, Content-Type, Content-Length, Cache-Control, Accept-Encoding, X-CSRF-Token, Client-Agent, X-Fields, "
    "Content-Type, Authorization, X-Requested-With, X-HTTP-Method-Override, apikey, genkey"
)


def python_json(value: Any) -> bytes:
    return json.dumps(value).encode()


def json_reply(value: Any, status: int = 200) -> Reply:
    return Reply(python_json(value), status)


def error_reply(error: DragomanError, _call: Call) -> Reply:
    """A Dialect's `error`. What the server would take for its default, for want of checking, is refused by name."""
    match error:
        case MalformedBody():
            return _refusal(500, "Error parsing input.", "bad_input")
        case TooLarge():
            return _refusal(500, f"Payload is too big. {error.message}", "bad_input")
        case Unauthorized():
            detail = {
                "error": "Unauthorized",
                "msg": "Authentication key is missing or invalid.",
                "type": "unauthorized",
            }
            return json_reply({"detail": detail}, 401)
        case RateLimited() | Busy():
            return _refusal(503, "Server is busy; please try again later.", "service_unavailable")
        case NotReady():
            return _refusal(503, error.message, "service_unavailable")
        case PromptTooLong() | InvalidRequest():
            return _refusal(400, error.message, "bad_input")
        case _:
            return _refusal(error.status, error.message, "server_error")


def _refusal(status: int, message: str, kind: str) -> Reply:
    return json_reply({"detail": {"msg": message, "type": kind}}, status)


def unknown_route(call: Call, nearest: str | None) -> Reply:
    if call.method == "POST":
        return Reply(b"", 404, _HTML)
    hint = f"<br>Did you mean {nearest}?" if nearest else ""
    text = (
        "Error: KoboldCpp HTTP Server is running, but this endpoint does not exist. Please check the URL and METHOD."
        f'<br><a href="/api">[Read API documentation here]</a><br><br>Current path: {_escaped(call.path)}{hint}'
    )
    return Reply(text.encode(), 404, _HTML)


def wrong_method(call: Call, allowed: Sequence[str]) -> Reply:
    return unknown_route(call, f"{allowed[0]} {_escaped(call.path)}")


def _escaped(path: str) -> str:
    """The server itself puts the path into its page as it came."""
    return path.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def cors(_origin: str | None) -> Mapping[str, str]:
    return {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Allow-Methods": "*",
        "Access-Control-Allow-Headers": _ALLOWED,
    }


def preflight(_call: Call) -> Reply:
    return Reply(b"", content_type=_HTML)


def admit(call: Call) -> Reply | None:
    """HEAD is well received everywhere."""
    return Reply(b"", content_type=_HTML) if call.method == "HEAD" else None
