"""How llama-cpp-python's server fails: almost always with 500, whoever is at fault.

What FastAPI's validation says is sent as it is, Python's notation and the handler's place in the source included.
Wire facts: llama-cpp-python llama_cpp/server/errors.py; fastapi exceptions.py (RequestValidationError.__str__).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adapters.base import Call, Reply
from adapters.framing import to_json
from adapters.llamacpp_python.http import common_headers, detail_reply
from backends.errors import (
    Busy,
    DragomanError,
    Forbidden,
    InvalidRequest,
    MalformedBody,
    NotFound,
    NotReady,
    PromptTooLong,
    RateLimited,
    TooLarge,
    TooSlow,
    Unauthorized,
    UnknownModel,
    Unsupported,
)

_SOURCE = "/models/app.py"
"""Where a server's own source lies differs from machine to machine."""
_DEFAULT_LENGTH = 16


def invalid_body(call: Call, faults: Sequence[Any], handler: str, line: int) -> InvalidRequest:
    """faults: as pydantic lists them. handler, line: the function that the body was for, and where it stands."""
    told = "\n".join(f"  {fault}" for fault in faults)
    plural = "" if len(faults) == 1 else "s"
    place = f'  File "{_SOURCE}", line {line}, in {handler}\n    {call.method} {call.path}'
    return InvalidRequest(f"{len(faults)} validation error{plural}:\n{told}\n\n{place}")


def error_reply(error: DragomanError, call: Call) -> Reply:
    """A Dialect's `error`."""
    match error:
        case MalformedBody():  # an exception while the server handles another
            return Reply(b"Internal Server Error", 500, "text/plain; charset=utf-8")
        case Unauthorized():
            return detail_reply(call, "Invalid API key", 401)
        case RateLimited() | Busy() | NotReady():
            return detail_reply(call, "Service is not available", 503)
        case UnknownModel():
            status, value = 400, _refusal(f"The model `{error.model}` does not exist", code="model_not_found")
        case NotFound() | Forbidden() | TooLarge() | TooSlow():
            return detail_reply(call, error.message, error.status)
        case PromptTooLong() if call.path.rstrip("/").endswith("completions"):
            status, value = 400, _refusal(_too_long(error, call), "messages", "context_length_exceeded")
        case _:
            status, value = 500, error_object(error)
    return Reply(to_json(value), status, headers=common_headers(call))


def error_object(error: DragomanError) -> dict[str, Any]:
    return {"error": {"message": _message(error), "type": "internal_server_error", "param": None, "code": None}}


def _refusal(message: str, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}


def _message(error: DragomanError) -> str:
    match error:
        case Unsupported(feature="embeddings"):
            return "Llama model must be created with embedding=True to call this method"
        case PromptTooLong():
            return f"Requested tokens ({error.num_prompt_tokens}) exceed context window of {error.window}"
        case _:
            return error.message


def _too_long(error: PromptTooLong, call: Call) -> str:
    """What was asked for is told as Python prints it."""
    prompt, body = error.num_prompt_tokens, call.json()
    if "messages" in body:
        length = body.get("max_tokens")
        return (
            f"This model's maximum context length is {error.window} tokens. However, you requested "
            f"{(length or 0) + prompt} tokens ({prompt} in the messages, {length} in the completion). "
            "Please reduce the length of the messages or completion."
        )
    length = body.get("max_tokens", _DEFAULT_LENGTH)
    return (
        f"This model's maximum context length is {error.window} tokens, however you requested "
        f"{(length or 0) + prompt} tokens ({prompt} in your prompt; {length} for the completion). "
        "Please reduce your prompt; or completion length."
    )
