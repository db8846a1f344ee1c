"""What the Anthropic tests share: asking a verb, and reading its stream as an SDK would."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from adapters.anthropic.dialect import DIALECT
from adapters.base import Dialect, Reply
from backends.errors import DragomanError
from backends.request import ChatPrompt, GenerateRequest
from tests.fakes import HELLO, FakeModels, Script, ScriptedBackend, answer, call

USER = [{"role": "user", "content": "hi"}]
BODY: dict[str, Any] = {"model": "m", "max_tokens": 64, "messages": USER}
TOOLS = [
    {"name": "f", "description": "F", "input_schema": {"type": "object"}},
    {"name": "g", "input_schema": {"type": "object"}},
]


async def ask(fields: Mapping[str, Any] | None = None, script: Script = HELLO, **options: Any) -> Any:
    """The whole answer of `messages`, as JSON."""
    models = FakeModels.of(ScriptedBackend(script, **options))
    asked = call("POST", "/v1/messages", BODY | dict(fields or {}), models=models)
    return (await answer(DIALECT.verbs["messages"], asked)).json


async def stream(fields: Mapping[str, Any] | None = None, script: Script = HELLO, **options: Any) -> list[Any]:
    """The events of a stream."""
    models = FakeModels.of(ScriptedBackend(script, **options))
    asked = call("POST", "/v1/messages", BODY | {"stream": True} | dict(fields or {}), models=models)
    return [read_event(frame) for frame in (await answer(DIALECT.verbs["messages"], asked)).frames]


async def parsed(fields: Mapping[str, Any]) -> GenerateRequest:
    """The request that reaches the backend."""
    backend = ScriptedBackend()
    await answer(
        DIALECT.verbs["messages"], call("POST", "/v1/messages", BODY | dict(fields), models=FakeModels.of(backend))
    )
    return backend.requests[0]


async def prompt_of(fields: Mapping[str, Any]) -> ChatPrompt:
    (prompt,) = (await parsed(fields)).prompts
    assert isinstance(prompt, ChatPrompt)
    return prompt


async def refusal(
    verb: str, body: object, *, dialect: Dialect = DIALECT, models: FakeModels | None = None
) -> tuple[int, Any]:
    """Status and body of an error."""
    asked = call("POST", "/v1/messages", body, models=models)
    try:
        await answer(dialect.verbs[verb], asked)
    except DragomanError as error:
        reply: Reply = dialect.error(error, asked)
        return reply.status, orjson.loads(reply.body)
    raise AssertionError("it was not refused")


def read_event(frame: bytes) -> Any:
    """One event a frame; its name stands before it and in it."""
    name, _, rest = frame.partition(b"\n")
    assert rest.startswith(b"data: ")
    assert rest.endswith(b"\n\n")
    assert frame.count(b"\n") == 3
    event = orjson.loads(rest[6:-2])
    assert name == b"event: " + event["type"].encode()
    return event


def kinds(events: list[Any]) -> list[str]:
    return [event["type"] for event in events]
