"""The dialect of the service behind GitHub Copilot's ghost text, for clients pointed at a server of one's own.

Answers are OpenAI's text completions. Its client cuts five characters off every line that isn't empty and parses the
rest, so a stream holds no comment and no event names; the language server takes an answer without
`x-github-request-id` for one that isn't GitHub's. Wire facts: FauxPilot copilot_proxy/app.py, ollama-copilot
internal/handlers.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from adapters.base import Call, Dialect, Reply, Served
from adapters.framing import to_json
from adapters.openai.common import AnswerOptions, resolve
from adapters.openai.completions import CompletionBody, CompletionExchange
from adapters.openai.dialect import cors, preflight
from adapters.openai.errors import error_reply, unknown_route, wrong_method
from backends.events import Completion
from backends.request import GenerateRequest

_TOKEN_LIFE_S = 1500


class EngineBody(CompletionBody):
    """extra: of the language and the indentation around the gap; nwo: of the repository. Neither has an effect."""

    tolerated = frozenset({"extra", "nwo", "code_annotations"})

    extra: dict[str, Any] = Field(default_factory=dict)
    nwo: str | None = None
    code_annotations: bool | None = None


class EngineExchange(CompletionExchange):
    def __init__(self, call: Call, served: Served, request: GenerateRequest, options: AnswerOptions) -> None:
        super().__init__(call, served, request, options)
        elapsed_ms = int(max(0.0, time.time() - call.received) * 1000)
        self._own_headers = {
            "openai-processing-ms": str(elapsed_ms),
            "openai-model": served.name,
            **_github_headers(call),
        }
        self.headers: Mapping[str, str] = {**self.headers, **self._own_headers}

    def reply(self, completion: Completion) -> Reply:
        return Reply(super().reply(completion).body, headers=self._own_headers)


async def completions(call: Call) -> EngineExchange:
    body = EngineBody.parse(call)
    return EngineExchange(call, resolve(call, body.model), body.request(call.id), body.options())


async def token(call: Call) -> Reply:
    """Any will do here; it has to be asked for, and to expire."""
    now = int(call.received)
    shape = {
        "token": f"tid={call.id};exp={now + _TOKEN_LIFE_S};sku=local",
        "expires_at": now + _TOKEN_LIFE_S,
        "refresh_in": _TOKEN_LIFE_S - 300,
        "sku": "local",
        "individual": True,
        "chat_enabled": True,
        "telemetry": "disabled",
    }
    return Reply(to_json(shape), headers=_github_headers(call))


async def user(call: Call) -> Reply:
    shape = {"login": "local", "access_type_sku": "local", "copilot_plan": "individual", "chat_enabled": True}
    return Reply(to_json(shape), headers=_github_headers(call))


def _github_headers(call: Call) -> dict[str, str]:
    return {"x-github-request-id": call.id}


DIALECT = Dialect(
    name="copilot",
    verbs={"completions": completions, "token": token, "user": user},
    error=error_reply,
    unknown_route=unknown_route,
    wrong_method=wrong_method,
    preflight=preflight,
    cors=cors,
    public=frozenset({"token", "user"}),
)
