"""Anthropic's error envelope, for an answer and for the middle of a stream.

`{"type": "error", "error": {"type", "message"}, "request_id"}`: the SDKs choose their exception by the status and show
the rest; the id comes in the header `request-id` too. Wire facts: docs.anthropic.com/en/api/errors,
anthropic-sdk-python `types/shared/*_error.py`, `_exceptions.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adapters.base import Call, Reply
from adapters.framing import to_json
from backends.errors import (
    Busy,
    DragomanError,
    InvalidField,
    MalformedBody,
    MissingField,
    MissingKey,
    NotReady,
    PromptTooLong,
    UnknownModel,
    WrongKey,
)

OVERLOADED = 529
_TYPES: Mapping[int, str] = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    OVERLOADED: "overloaded_error",
}


def request_headers(call: Call) -> dict[str, str]:
    """On every answer, errors and streams included."""
    return {"request-id": _request_id(call)}


def _request_id(call: Call) -> str:
    return f"req_{call.id}"


def error_reply(error: DragomanError, call: Call) -> Reply:
    """A Dialect's `error`."""
    return envelope_reply(_status(error), _message(error), call)


def error_object(error: DragomanError, call: Call) -> dict[str, Any]:
    return _envelope(_status(error), _message(error), call)


def envelope_reply(status: int, message: str, call: Call) -> Reply:
    return Reply(to_json(_envelope(status, message, call)), status, headers=request_headers(call))


def _envelope(status: int, message: str, call: Call) -> dict[str, Any]:
    error = {"type": _TYPES.get(status, "api_error"), "message": message}
    return {"type": "error", "error": error, "request_id": _request_id(call)}


def _status(error: DragomanError) -> int:
    """Anthropic has a status of its own for a server that can take no more now."""
    return OVERLOADED if isinstance(error, Busy | NotReady) else error.status


def _message(error: DragomanError) -> str:
    match error:
        case MalformedBody():
            return f"The request body is not valid JSON: {error.message}"
        case MissingField():
            return f"{error.param}: Field required"
        case InvalidField():
            return f"{error.param}: {error.reason}"
        case MissingKey():
            return "x-api-key header is required"
        case WrongKey():
            return "invalid x-api-key"
        case UnknownModel():
            return f"model: {error.model}"
        case PromptTooLong():
            return f"prompt is too long: {error.num_prompt_tokens} tokens > {error.window} maximum"
        case _:
            return error.message


def unknown_route(call: Call, nearest: str | None) -> Reply:
    hint = f": did you mean {nearest}?" if nearest else ""
    return envelope_reply(404, f"Not found{hint}", call)


def wrong_method(call: Call, allowed: Sequence[str]) -> Reply:
    reply = envelope_reply(405, "Method Not Allowed", call)
    return Reply(reply.body, 405, headers={**reply.headers, "Allow": ", ".join(allowed)})
