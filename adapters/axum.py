"""What servers written with axum (TGI, Tabby) have in common: how they turn a body away, and how an event looks.

Wire facts: axum 0.7 src/extract/rejection.rs (JsonDataError, JsonSyntaxError), src/response/sse.rs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adapters.base import Call, Reply
from adapters.framing import to_json
from backends.errors import DragomanError, InvalidField, MalformedBody, MissingField, TooLarge, Unauthorized

_TEXT = "text/plain; charset=utf-8"
_NOT_TYPED = "Failed to deserialize the JSON body into the target type: "
DONE = b"data:[DONE]\n\n"


def event(value: Any) -> bytes:
    """No blank after the colon, as before axum 0.8."""
    return b"data:" + to_json(value) + b"\n\n"


def rejection(error: DragomanError) -> Reply | None:
    """What is said before the server itself has a word, or None. In which column a body is wrong isn't told."""
    match error:
        case MalformedBody():
            return Reply(b"Failed to parse the request body as JSON: " + error.message.encode(), 400, _TEXT)
        case MissingField():
            *outer, name = (error.param or "").split(".")
            where = ".".join(outer) + ": " if outer else ""
            return Reply(f"{_NOT_TYPED}{where}missing field `{name}`".encode(), 422, _TEXT)
        case InvalidField():
            return Reply(f"{_NOT_TYPED}{error.param}: {error.reason}".encode(), 422, _TEXT)
        case TooLarge():
            return Reply(b"Failed to buffer the request body: length limit exceeded", 413, _TEXT)
        case Unauthorized():
            return Reply(b"", 401, content_type="")
        case _:
            return None


def unknown_route(_call: Call, _nearest: str | None) -> Reply:
    return Reply(b"", 404, content_type="")


def wrong_method(_call: Call, allowed: Sequence[str]) -> Reply:
    return Reply(b"", 405, content_type="", headers={"Allow": ",".join(allowed)})
