"""How llama.cpp's server fails: kinds of error, their statuses and bodies. Knows no route.

Its errors have two shapes. The handlers' own put `code` first; what its HTTP layer says before any handler runs
(unknown route, wrong key, model still loading) puts `message` first. Source: llama.cpp
tools/server/{server-common,server-http,server}.cpp.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from adapters.base import Call, Reply
from adapters.framing import JSON_UTF8, to_json
from adapters.llamacpp.syntax import syntax_error
from backends.errors import (
    Busy,
    DragomanError,
    FieldTooLarge,
    Forbidden,
    InvalidField,
    InvalidRequest,
    MalformedBody,
    NotFound,
    NotReady,
    PromptTooLong,
    RateLimited,
    TooLarge,
    TooSlow,
    Unauthorized,
    Unsupported,
)

Kind: TypeAlias = Literal[
    "invalid_request_error",
    "permission_error",
    "not_found_error",
    "server_error",
    "not_supported_error",
    "unavailable_error",
    "exceed_context_size_error",
]

_STATUS: Mapping[Kind, int] = {
    "invalid_request_error": 400,
    "exceed_context_size_error": 400,
    "permission_error": 403,
    "not_found_error": 404,
    "server_error": 500,
    "not_supported_error": 501,
    "unavailable_error": 503,
}
_NOT_SUPPORTED: Mapping[str, str] = {
    "infill": "Infill is not supported by this model: prefix token is missing. suffix token is missing. "
    "middle token is missing. ",
    "embeddings": "This server does not support embeddings. Start it with `--embeddings`",
}
_MEDIA: Mapping[str, str] = {"images": "image", "image_url": "image", "input_audio": "audio", "input_video": "video"}


class Refusal(InvalidRequest):
    """A request that this server refuses in words of its own; `kind` decides the status.

    Much that is the request's fault is answered with 500 here: an exception that no handler expected.
    """

    def __init__(self, message: str, kind: Kind = "invalid_request_error") -> None:
        super().__init__(message)
        self.kind: Kind = kind


def wrong_type(wanted: str, value: object, kind: Kind = "invalid_request_error") -> Refusal:
    """As the JSON library throws it (nlohmann::json, type_error.302)."""
    return Refusal(f"[json.exception.type_error.302] type must be {wanted}, but is {type_name(value)}", kind)


def missing_key(key: str, kind: Kind = "invalid_request_error") -> Refusal:
    """As the JSON library throws it (nlohmann::json, out_of_range.403)."""
    return Refusal(f"[json.exception.out_of_range.403] key '{key}' not found", kind)


def type_name(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


def read_object(call: Call) -> dict[str, Any]:
    """The body. Raises MalformedBody, or Refusal when it isn't an object."""
    body = call.json()
    if not isinstance(body, dict):
        raise Refusal(f"[json.exception.type_error.304] cannot use at() with {type_name(body)}")
    return body


def read_keys(call: Call) -> dict[str, Any]:
    """The body where the server only asks which keys it has: what isn't an object has none. Raises MalformedBody."""
    body = call.json()
    return body if isinstance(body, dict) else {}


def error_reply(error: DragomanError, _call: Call) -> Reply:
    """A Dialect's `error`."""
    match error:
        case Unauthorized():
            return early_reply("Invalid API Key", "authentication_error", 401)
        case NotReady():
            return early_reply("Loading model", "unavailable_error", 503)
        case _:
            value = error_object(error)
            return Reply(to_json({"error": value}), value["code"], JSON_UTF8)


def early_reply(message: str, kind: str, status: int) -> Reply:
    """Before any handler ran."""
    return Reply(to_json({"error": {"message": message, "type": kind, "code": status}}), status, JSON_UTF8)


def error_object(error: DragomanError) -> dict[str, Any]:
    """What stands under `error`, in a body or in a stream."""
    kind, message = _kind_and_message(error)
    status = error.status if isinstance(error, TooLarge | TooSlow) else _STATUS[kind]
    value: dict[str, Any] = {"code": status, "message": message, "type": kind}
    if isinstance(error, PromptTooLong):
        value |= {"n_prompt_tokens": error.num_prompt_tokens, "n_ctx": error.window}
    return value


def _kind_and_message(error: DragomanError) -> tuple[Kind, str]:
    match error:
        case Refusal():
            return error.kind, error.message
        case MalformedBody():
            return "server_error", syntax_error(error.body)
        case PromptTooLong():
            return "exceed_context_size_error", (
                f"request ({error.num_prompt_tokens} tokens) exceeds the available context size "
                f"({error.window} tokens), try increasing it"
            )
        case Unsupported():
            return _unsupported(error)
        case InvalidField():
            return "invalid_request_error", _invalid(error)
        case NotFound() if error.param is None:
            return "not_found_error", error.message
        case InvalidRequest() | NotFound() | TooLarge() | TooSlow():
            # a model that nobody has is 400, as llama.cpp's router says
            return "invalid_request_error", error.message
        case Forbidden():
            return "permission_error", error.message
        case RateLimited() | Busy() | NotReady():
            return "unavailable_error", error.message
        case _:
            return "server_error", error.message


def _invalid(error: InvalidField) -> str:
    match error.param:
        case "prompt" if isinstance(error.value, int):
            return "Prompt contains invalid tokens"
        case "json_schema" if not isinstance(error, FieldTooLarge):
            return f"Field 'json_schema': {_schema_fault(error.reason)}"
        case "grammar" if not isinstance(error, FieldTooLarge):
            return "Failed to initialize samplers: failed to parse grammar"
        case _:
            return f"Field '{error.param}': {error.reason}"


def _schema_fault(reason: str) -> str:
    """reason: our own compiler's."""
    kind = re.search(r"Invalid type: (\w+)", reason)
    told = f"unrecognized type {kind[1]}" if kind else reason
    return f'"json_schema": JSON schema conversion failed:\nJSON schema error at #: {told}'


def _unsupported(error: Unsupported) -> tuple[Kind, str]:
    if error.feature in _MEDIA:
        hint = "hint: if this is unexpected, you may need to provide the mmproj"
        return "server_error", f"{_MEDIA[error.feature]} input is not supported - {hint}"
    if error.feature in _NOT_SUPPORTED:
        return "not_supported_error", _NOT_SUPPORTED[error.feature]
    return "invalid_request_error", error.message
