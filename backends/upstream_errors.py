"""What a server's refusals mean: a status and a body, or an error in the middle of a stream, as our own errors.

Pure. Wire facts: vllm entrypoints/serve/engine/protocol.py (ErrorResponse), FastAPI's `detail`, llama.cpp
tools/server/server-common.cpp (format_error_response), ollama api/types.go (StatusError).
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from backends.errors import (
    BackendFailed,
    Busy,
    DragomanError,
    InvalidRequest,
    NotReady,
    PromptTooLong,
    TooLarge,
    Unauthorized,
    UnknownModel,
    Unsupported,
)

_MAX_SHOWN = 500  # characters of a body that is no error object
_RETRY_AFTER_S = 1.0
_TOO_LONG = re.compile(r"maximum context length is (\d+).*?prompt contains (?:at least )?(\d+)", re.DOTALL)
_LONGER = re.compile(r"[Ii]nput length \((\d+)\) exceeds model's maximum context length \((\d+)\)")


class WorkerLost(BackendFailed):
    """The server is gone, or has lost this answer: another may still be had from it, or from its successor."""


def refusal(status: int, body: bytes, retry_after: str | None, model: str) -> DragomanError:
    """An answer whose status isn't 200. model: as the server was asked for it."""
    message, param = _read(body, status)
    match status:
        case 401 | 403:
            return Unauthorized(f"the model's server refuses the key: {message}")
        case 404 if param == "model" or _names_a_model(message, model):
            return UnknownModel(model)
        case 404 | 405 | 501:
            return Unsupported(f"the model's server can't do this: {message}", feature="route")
        case 413:
            return TooLarge(message)
        case 429:
            return Busy(message, retry_after_s=_seconds(retry_after))
        case 503 if "loading" in message.lower():
            return NotReady(message, retry_after_s=_seconds(retry_after))
        case 503:
            return Busy(message, retry_after_s=_seconds(retry_after))
        case _ if 400 <= status < 500:
            return _bad_request(message, param)
        case _:
            return WorkerLost(f"the model's server answers {status}: {message}")


def interruption(error: object) -> DragomanError:
    """What stands under `error` in a chunk of a stream."""
    message, param = _message_of(error)
    code = error.get("code") if isinstance(error, dict) else None
    if isinstance(code, int) and 400 <= code < 500:
        return _bad_request(message, param)
    return WorkerLost(f"the model's server broke off: {message}")


def _bad_request(message: str, param: str | None) -> InvalidRequest:
    if found := _TOO_LONG.search(message):
        return _too_long(message, int(found[2]), int(found[1]))
    if found := _LONGER.search(message):
        return _too_long(message, int(found[1]), int(found[2]))
    return InvalidRequest(message, param=param)


def _too_long(message: str, num_tokens: int, window: int) -> InvalidRequest:
    return PromptTooLong(num_tokens, window) if num_tokens >= window else InvalidRequest(message)


def _read(body: bytes, status: int) -> tuple[str, str | None]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body[:_MAX_SHOWN].decode("utf-8", "replace").strip() or f"status {status}", None
    if isinstance(value, dict):
        for key in ("error", "detail"):
            if key in value:
                return _message_of(value[key])
    return _message_of(value)


def _message_of(error: object) -> tuple[str, str | None]:
    """FastAPI's `detail` may be a list of objects that say where (`loc`) and what (`msg`)."""
    match error:
        case str(message):
            return message, None
        case {"message": str(message), **rest}:
            return message, _text(rest.get("param"))
        case [{"loc": [*place], "msg": str(message)}, *_]:
            param = ".".join(str(part) for part in place if part != "body")
            return f"'{param}': {message}", param
        case _:
            return orjson.dumps(error).decode()[:_MAX_SHOWN], None


def _text(value: Any) -> str | None:
    return str(value).removeprefix("body.") if value else None


def _names_a_model(message: str, model: str) -> bool:
    return "model" in message.lower() and model in message


def _seconds(retry_after: str | None) -> float:
    """A date, the header's other form, is as good as nothing said."""
    try:
        return max(0.0, float(retry_after or _RETRY_AFTER_S))
    except ValueError:
        return _RETRY_AFTER_S
