"""How LM Studio fails: `{"error": {type, message, code?, param?}}` on its own routes, OpenAI's object under /api/v0.

An unknown path is answered with 200. Wire facts: lmstudio.ai/docs/developer/rest/streaming-events (error); for the
unknown path lmstudio-bug-tracker issues 618 and 1323.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adapters.base import Call, Reply
from adapters.framing import to_json
from adapters.openai.errors import error_reply as openai_error
from backends.errors import (
    DragomanError,
    InvalidField,
    InvalidRequest,
    MissingField,
    NotFound,
    Unauthorized,
    UnknownModel,
    Unsupported,
)

_CODES = {MissingField: "missing_required_parameter", InvalidField: "invalid_value", UnknownModel: "model_not_found"}


class UnknownJob(NotFound):
    code = "job_not_found"


def error_reply(error: DragomanError, call: Call) -> Reply:
    """A Dialect's `error`."""
    if call.path.lower().startswith("/api/v0"):
        return openai_error(error, call)
    return Reply(to_json({"error": error_object(error)}), error.status)


def error_object(error: DragomanError) -> dict[str, Any]:
    shape: dict[str, Any] = {"type": _kind(error), "message": _message(error)}
    code = _CODES.get(type(error))
    if code:
        shape["code"] = code
    if error.param:
        shape["param"] = error.param
    return shape


def _message(error: DragomanError) -> str:
    return f'"{error.param}" is required' if isinstance(error, MissingField) else error.message


def _kind(error: DragomanError) -> str:
    match error:
        case UnknownModel():
            return "model_not_found"
        case UnknownJob():
            return "job_not_found"
        case Unsupported():
            return "not_implemented"
        case InvalidRequest() | Unauthorized() | NotFound():
            return "invalid_request"
        case _:
            return "internal_error"


def unknown_route(call: Call, nearest: str | None) -> Reply:
    hint = f" Did you mean {nearest}?" if nearest else ""
    return Reply(to_json({"error": f"Unexpected endpoint or method. ({call.method} {call.path}){hint}"}))


def wrong_method(call: Call, _allowed: Sequence[str]) -> Reply:
    return unknown_route(call, None)
