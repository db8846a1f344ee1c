"""Ollama's cloud as seen from a machine that has none: /api/status, /api/me, /api/signout.

Wire facts: ollama server/routes.go (StatusHandler, WhoamiHandler, SignoutHandler), api/types.go (CloudStatus).
"""

from __future__ import annotations

from adapters.base import Call, Reply
from adapters.framing import JSON_UTF8
from adapters.ollama.json import go_json


async def status(_call: Call) -> Reply:
    """Nothing is ever sent to a cloud, whatever is asked for."""
    return Reply(go_json({"cloud": {"disabled": True, "source": "config"}}), content_type=JSON_UTF8)


async def me(_call: Call) -> Reply:
    return Reply(go_json({"error": "account unavailable"}), 503, JSON_UTF8)


async def signout(_call: Call) -> Reply:
    return Reply(go_json({"error": "you are not currently signed in"}), 401, JSON_UTF8)
