"""How Ollama fails: one line of text under `error`, or OpenAI's or Anthropic's object where that layer answers.

The headers tell where an error came up, as with the real server: gin's own JSON names its charset; what the runner
says when a stream was asked for has lost it; the OpenAI layer's writer never had it and ends the body with a line
break. Wire facts: ollama server/routes.go (streamResponse, handleScheduleError), middleware/openai.go (writeError),
openai/openai.go and anthropic/anthropic.go (NewError); gin (serveError).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adapters.base import Call, Reply
from adapters.framing import JSON_UTF8
from adapters.ollama.body import decode
from adapters.ollama.json import go_json
from backends.errors import (
    Busy,
    DragomanError,
    Forbidden,
    ForeignPage,
    InvalidRequest,
    MissingKey,
    NotFound,
    NotReady,
    PromptTooLong,
    RateLimited,
    TooLarge,
    TooSlow,
    Unauthorized,
    WrongKey,
)

JSON = "application/json"

_BUSY = "server busy, please try again.  maximum pending requests exceeded"
_STREAMING = ("/api/generate", "/api/chat")
_ERROR_TYPES = {400: "invalid_request_error", 404: "not_found_error"}
_ANTHROPIC_TYPES = _ERROR_TYPES | {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
    503: "overloaded_error",
}


class Fault(InvalidRequest):
    """The request is at fault, but Ollama says 500: an error came up where its handler expected none."""

    status = 500


class Rejected(InvalidRequest):
    """The OpenAI or Anthropic layer refuses a request itself, before the native handler sees it."""


def message_of(error: DragomanError) -> str:
    match error:
        case Busy():
            return _BUSY
        case MissingKey() | WrongKey():
            return "unauthorized"
        case _:
            return error.message


def error_reply(error: DragomanError, call: Call) -> Reply:
    """A Dialect's `error`. A page that may not call isn't told why."""
    if isinstance(error, ForeignPage):
        return Reply(status=403, content_type="")
    if call.path.rstrip("/").lower().endswith("/messages"):
        return _layers_reply(error, anthropic_error(error, call.id))
    if is_openai(call):
        return _layers_reply(error, openai_error(error))
    content_type = JSON if _is_runners(error) and _streams(call) else JSON_UTF8
    return Reply(go_json({"error": message_of(error)}), error.status, content_type)


def is_openai(call: Call) -> bool:
    """Is it a route of the OpenAI layer? Its own have /api in front."""
    return not call.path.lstrip("/").lower().startswith("api/")


def _layers_reply(error: DragomanError, value: dict[str, Any]) -> Reply:
    body = go_json(value)
    if isinstance(error, Rejected):
        return Reply(body, error.status, JSON_UTF8)
    return Reply(body + b"\n", error.status, JSON)


def openai_error(error: DragomanError) -> dict[str, Any]:
    kind = _ERROR_TYPES.get(error.status, "api_error")
    return {"error": {"message": message_of(error), "type": kind, "param": None, "code": None}}


def anthropic_error(error: DragomanError, request_id: str) -> dict[str, Any]:
    kind = _ANTHROPIC_TYPES.get(error.status, "api_error")
    return {
        "type": "error",
        "error": {"type": kind, "message": message_of(error)},
        "request_id": f"req_{request_id[:24]}",
    }


def _is_runners(error: DragomanError) -> bool:
    """The handler knows the model, the queue and the fields; what else goes wrong, goes wrong in the runner."""
    if isinstance(error, PromptTooLong):
        return True
    return not isinstance(
        error, InvalidRequest | NotFound | Busy | NotReady | Unauthorized | Forbidden | TooLarge | TooSlow | RateLimited
    )


def _streams(call: Call) -> bool:
    if not call.path.rstrip("/").lower().endswith(_STREAMING):
        return False
    body = decode(call.body)
    return not isinstance(body, dict) or body.get("stream") is not False


def unknown_route(_call: Call, _nearest: str | None) -> Reply:
    return Reply(b"404 page not found", 404, "text/plain")


def wrong_method(_call: Call, allowed: Sequence[str]) -> Reply:
    return Reply(b"405 method not allowed", 405, "text/plain", {"Allow": ", ".join(allowed)})
