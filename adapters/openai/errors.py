"""OpenAI's error object, for an answer and for the middle of a stream.

`{"error": {"message", "type", "param", "code"}}`: the SDKs choose their exception by the status and show the rest.
Codes that OpenAI documents are used where one fits (platform.openai.com/docs/guides/error-codes); the others are our
own and tell who failed: `busy` the gateway, `loading` and `backend_failed` the backend.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from adapters.base import Call, Reply
from adapters.framing import to_json
from backends.errors import (
    DragomanError,
    InvalidField,
    MalformedBody,
    MissingField,
    MissingKey,
    PromptTooLong,
    UnknownModel,
    Unsupported,
    WrongKey,
)


def error_object(error: DragomanError) -> dict[str, Any]:
    param = None if error.param is None else re.sub(r"\.(\d+)(?=\.|$)", r"[\1]", error.param)
    match error:
        case MalformedBody():
            return _object(f"We could not parse the JSON body of your request: {error.message}", error.status)
        case MissingField():
            return _object(f"Missing required parameter: '{param}'.", 400, param, "missing_required_parameter")
        case InvalidField():
            return _object(f"Invalid value for '{param}': {error.reason}", 400, param, "invalid_value")
        case Unsupported():
            return _object(error.message, 400, param, "unsupported_parameter")
        case MissingKey():
            return _object("You didn't provide an API key: send it as `Authorization: Bearer`.", 401)
        case WrongKey():
            return _object("Incorrect API key provided.", 401, code=error.code)
        case UnknownModel():
            return _object(f"The model `{error.model}` does not exist.", 404, "model", error.code)
        case PromptTooLong():
            return _object(_too_long(error), 400, param, error.code)
        case _:
            return _object(error.message, error.status, param, error.code)


def _too_long(error: PromptTooLong) -> str:
    """Clients look for the first words (LiteLLM's exception mapping), people for both numbers."""
    return (
        f"This model's maximum context length is {error.window} tokens. However, your prompt has "
        f"{error.num_prompt_tokens} tokens. Please reduce its length."
    )


def _object(message: str, status: int, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def error_reply(error: DragomanError, _call: Call) -> Reply:
    headers = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(math.ceil(error.retry_after_s))
    return Reply(to_json(error_object(error)), error.status, headers=headers)


def unknown_route(call: Call, nearest: str | None) -> Reply:
    hint = f" Did you mean {nearest}?" if nearest else ""
    message = f"Invalid URL ({call.method} {call.path}).{hint}"
    return Reply(to_json(_object(message, 404, code="unknown_url")), 404)


def wrong_method(call: Call, allowed: Sequence[str]) -> Reply:
    message = f"Not allowed to {call.method} on {call.path} (HINT: use {' or '.join(allowed)})"
    return Reply(
        to_json(_object(message, 405, code="method_not_supported")), 405, headers={"Allow": ", ".join(allowed)}
    )
