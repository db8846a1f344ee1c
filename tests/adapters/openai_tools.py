"""What the OpenAI tests share: asking a verb, and reading its stream as an SDK would."""

from __future__ import annotations

from typing import Any

import orjson

from adapters.openai.dialect import DIALECT
from backends.request import GenerateRequest
from tests.fakes import HELLO, FakeModels, Script, ScriptedBackend, answer, call

USER = [{"role": "user", "content": "hi"}]
TOOLS = [
    {"type": "function", "function": {"name": "f", "description": "F", "parameters": {"type": "object"}}},
    {"type": "function", "function": {"name": "g"}},
]


def backend_of(models: FakeModels) -> ScriptedBackend:
    backend = models.served[0].backend
    assert isinstance(backend, ScriptedBackend)
    return backend


async def ask(verb: str, body: object, script: Script = HELLO, **options: Any) -> Any:
    """The whole answer, as JSON."""
    models = FakeModels.of(ScriptedBackend(script, **options))
    return (await answer(DIALECT.verbs[verb], call("POST", f"/v1/{verb}", body, models=models))).json


async def stream(verb: str, body: dict[str, Any], script: Script = HELLO, **options: Any) -> list[Any]:
    """The events of a stream; `[DONE]` is the string."""
    models = FakeModels.of(ScriptedBackend(script, **options))
    asked = call("POST", f"/v1/{verb}", body | {"stream": True}, models=models)
    return [read_frame(frame) for frame in (await answer(DIALECT.verbs[verb], asked)).frames]


async def parsed(verb: str, body: object, **options: Any) -> GenerateRequest:
    """The request that reaches the backend."""
    models = FakeModels.of()
    await answer(DIALECT.verbs[verb], call("POST", f"/v1/{verb}", body, models=models, **options))
    return backend_of(models).requests[0]


def read_frame(frame: bytes) -> Any:
    """One event a frame, framed exactly as the SDKs' own parsers need it."""
    assert frame.startswith(b"data: ")
    assert frame.endswith(b"\n\n")
    assert frame.count(b"\n") == 2
    data = frame[6:-2]
    return "[DONE]" if data == b"[DONE]" else orjson.loads(data)


def read_event(frame: bytes) -> Any:
    """An event of /v1/responses: its name stands before it and in it."""
    name, _, data = frame.partition(b"\n")
    event = read_frame(data)
    assert name == b"event: " + event["type"].encode()
    return event
