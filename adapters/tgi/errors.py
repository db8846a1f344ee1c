"""How TGI fails: `{"error", "error_type"}`, except where axum turns a body away in plain text, or without a word.

An error of a streaming route is an event of a stream that began with 200, even when it is the first. Wire facts:
text-generation-inference router/src/infer/mod.rs (InferError), validation.rs (ValidationError), server.rs.
"""

from __future__ import annotations

from collections.abc import Sequence

from adapters import framing
from adapters.axum import DONE, event, rejection
from adapters.base import Call, Reply
from adapters.framing import to_json
from backends.errors import (
    BackendFailed,
    Busy,
    DragomanError,
    Forbidden,
    InvalidRequest,
    MalformedBody,
    NotFound,
    NotReady,
    PromptTooLong,
    RateLimited,
)


class Rejected(InvalidRequest):
    """A request that TGI's validation turns away. message: as ValidationError words it."""


class Refused(InvalidRequest):
    """One that a route turns away by itself. message: the whole of it; kind: the `error_type`."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


def error_reply(error: DragomanError, call: Call) -> Reply:
    """A Dialect's `error`."""
    rejected = rejection(error)
    if rejected is not None:
        return rejected
    if _streams(call):
        return Reply(frames=failure_frames(error, call), content_type=framing.SSE)
    return Reply(to_json(error_object(error)), _status(error))


def failure_frames(error: DragomanError, call: Call) -> Sequence[bytes]:
    """What a stream ends with that fails."""
    if call.path.rstrip("/").endswith("completions"):
        shape = {"error": {"message": _message(error), "http_status_code": 422}}
        return (event(shape), DONE)
    return (event(error_object(error)),)


def error_object(error: DragomanError) -> dict[str, str]:
    return {"error": _message(error), "error_type": _kind(error)}


def _streams(call: Call) -> bool:
    """The routes of OpenAI's kind check a request before they stream; what they refuse themselves has a status."""
    if call.path.rstrip("/").endswith("generate_stream"):
        return True
    try:
        body = call.json()
    except MalformedBody:
        return False
    return call.path.strip("/") == "" and isinstance(body, dict) and body.get("stream") is True


def _message(error: DragomanError) -> str:
    match error:
        case Refused():
            return error.message
        case PromptTooLong():
            text = f"`inputs` must have less than {error.window} tokens. Given: {error.num_prompt_tokens}"
            return f"Input validation error: {text}"
        case RateLimited() | Busy():
            return "Model is overloaded"
        case InvalidRequest():
            return f"Input validation error: {error.message}"
        case BackendFailed():
            return f"Request failed during generation: {error.message}"
        case _:
            return error.message


def _kind(error: DragomanError) -> str:
    match error:
        case Refused():
            return error.kind
        case InvalidRequest() | NotFound() | Forbidden():
            return "validation"
        case RateLimited() | Busy():
            return "overloaded"
        case NotReady():
            return "healthcheck"
        case _:
            return "generation"


def _status(error: DragomanError) -> int:
    match error:
        case InvalidRequest():
            return 422
        case RateLimited() | Busy():
            return 429
        case BackendFailed():
            return 424
        case _:
            return error.status
