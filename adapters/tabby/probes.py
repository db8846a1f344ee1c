"""Tabby's other routes: /v1/health by GET and POST, /v1/events, /v1beta/models and /v1beta/server_setting.

Wire facts: tabby crates/tabby/src/services/health.rs, crates/tabby/src/routes/*.rs.
"""

from __future__ import annotations

import os
import platform

from pydantic import StrictStr

from adapters.base import Call, Reply, Served
from adapters.body import Body
from adapters.framing import to_json
from backends.errors import InvalidRequest

_VERSION = {
    "build_date": "2026-06-30",
    "build_timestamp": "2026-06-30T16:53:14.000000000Z",
    "git_sha": "21b29048d7bcf6b94f9f482f2d0fd05efadfd19f",
    "git_describe": "v0.32.0",
}
"""Whose API this is: Tabby's agent compares `git_describe` with what it needs."""
_EVENTS = frozenset({"view", "select", "dismiss"})


class EventBody(Body):
    """What became of a completion. Nothing is kept."""

    type: StrictStr
    completion_id: StrictStr
    choice_index: int
    view_id: str | None = None
    elapsed: int | None = None


async def health(call: Call) -> Reply:
    served = call.models.resolve(None)
    one = _model(served)
    shape = {
        "model": served.name,
        "chat_model": served.name,
        "chat_device": "cpu",
        "device": "cpu",
        "cuda_devices": [],
        "models": {"completion": one, "chat": one, "embedding": one},
        "arch": platform.machine(),
        "cpu_info": platform.processor() or "unknown",
        "cpu_count": os.cpu_count() or 1,
        "version": _VERSION,
        "webserver": None,
    }
    return Reply(to_json(shape))


def _model(served: Served) -> dict[str, dict[str, str]]:
    return {"local": {"model_id": served.name, "device": "cpu"}}


async def events(call: Call) -> Reply:
    """Raises InvalidRequest for a kind that isn't known."""
    body = EventBody.parse(call)
    if body.type not in _EVENTS:
        raise InvalidRequest(f"'type': '{body.type}' is none of {', '.join(sorted(_EVENTS))}", param="type")
    return Reply(b"", content_type="")


async def models(call: Call) -> Reply:
    names = [served.name for served in call.models.all()]
    return Reply(to_json({"completion": names, "chat": names}))


async def server_setting(_call: Call) -> Reply:
    """Clients shall keep what they see to themselves, where Tabby lets them tell."""
    return Reply(b'{"disable_client_side_telemetry":true}')
