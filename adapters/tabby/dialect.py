"""The dialect of TabbyML's server: its verbs, its errors, and what a browser may do.

Where it differs from the server on purpose:

- An unknown route is a 404 without a word, where Tabby leads to its own documentation; its agent takes both for "no
  such route".
- `next_edit_suggestion` is refused: it needs a model that was trained for it.
- Client-side telemetry is off.
"""

from __future__ import annotations

from collections.abc import Mapping

from adapters import axum
from adapters.axum import unknown_route, wrong_method
from adapters.base import Call, Dialect, Reply
from adapters.tabby.chat import chat
from adapters.tabby.completions import completions
from adapters.tabby.probes import events, health, models, server_setting
from backends.errors import DragomanError, MissingField


def error_reply(error: DragomanError, _call: Call) -> Reply:
    """A status, and nothing else."""
    if isinstance(error, MissingField) and error.param == "segments":
        return Reply(b"", 400, content_type="")  # an empty prompt, in its own words
    return axum.rejection(error) or Reply(b"", error.status, content_type="")


def cors(_origin: str | None) -> Mapping[str, str]:
    vary = "origin, access-control-request-method, access-control-request-headers"
    return {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "*", "Vary": vary}


def preflight(_call: Call) -> Reply:
    headers = {"Access-Control-Allow-Methods": "*", "Access-Control-Allow-Headers": "*"}
    return Reply(b"", content_type="", headers=headers)


DIALECT = Dialect(
    name="tabby",
    verbs={
        "chat": chat,
        "completions": completions,
        "events": events,
        "health": health,
        "models": models,
        "server_setting": server_setting,
    },
    error=error_reply,
    unknown_route=unknown_route,
    wrong_method=wrong_method,
    preflight=preflight,
    cors=cors,
    public=frozenset({"health"}),
)
