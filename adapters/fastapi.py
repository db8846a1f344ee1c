"""What servers written with FastAPI (text-generation-webui, Mistral's API) say of a body that is no request of theirs.

Wire facts: fastapi exception_handlers.py (request_validation_exception_handler), pydantic 2's names of errors.
"""

from __future__ import annotations

from collections.abc import Sequence

from adapters.base import Call, Reply
from adapters.framing import to_json
from backends.errors import DragomanError, InvalidField, MalformedBody, MissingField


def rejection(error: DragomanError) -> Reply | None:
    """What is said before the server itself has a word, or None."""
    match error:
        case MalformedBody():
            return _invalid("json_invalid", ("body", error.position), "JSON decode error")
        case MissingField():
            return _invalid("missing", _place(error.param), "Field required")
        case InvalidField():
            return _invalid("value_error", _place(error.param), error.reason)
        case _:
            return None


def _place(param: str | None) -> tuple[str | int, ...]:
    return ("body", *(int(part) if part.isdecimal() else part for part in (param or "").split(".")))


def _invalid(kind: str, place: tuple[str | int, ...], message: str) -> Reply:
    return Reply(to_json({"detail": [{"type": kind, "loc": place, "msg": message}]}), 422)


def detail(text: str, status: int) -> Reply:
    return Reply(to_json({"detail": text}), status)


def unknown_route(_call: Call, nearest: str | None) -> Reply:
    return detail(f"Not Found: did you mean {nearest}?" if nearest else "Not Found", 404)


def wrong_method(_call: Call, allowed: Sequence[str]) -> Reply:
    return Reply(detail("Method Not Allowed", 405).body, 405, headers={"Allow": ", ".join(allowed)})
