"""Asking the llama.cpp dialect without HTTP, and its recordings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from adapters.base import Exchange, Models, Reply
from adapters.llamacpp.dialect import DIALECT
from backends.errors import DragomanError
from backends.request import GenerateRequest
from tests.conformance.recordings import read_recording
from tests.conformance.wire import Answer
from tests.fakes import FakeModels, ScriptedBackend, answer, call

GOLDEN = Path(__file__).parents[1] / "golden" / "llama-server"
USER = [{"role": "user", "content": "hi"}]


def models_of(backend: ScriptedBackend) -> FakeModels:
    return FakeModels.of(backend, name="tiny")


async def replied(
    verb: str,
    body: object = None,
    *,
    backend: ScriptedBackend | None = None,
    path: str | None = None,
    models: Models | None = None,
    **more: Any,
) -> Reply:
    """The whole answer, an error in the dialect's own shape included."""
    known = models or models_of(backend or ScriptedBackend())
    asked = call("POST", path or f"/{verb}", body, models=known, persona="llamacpp", **more)
    try:
        done = await answer(DIALECT.verbs[verb], asked)
    except DragomanError as error:
        return DIALECT.error(error, asked)
    assert done.reply is not None, "the answer was a stream"
    return done.reply


async def ask(verb: str, body: object = None, **more: Any) -> Any:
    reply = await replied(verb, body, **more)
    assert reply.status == 200, reply.body
    return orjson.loads(reply.body)


async def refusal(verb: str, body: object = None, **more: Any) -> tuple[int, str, str]:
    """Status, type and message of an error."""
    reply = await replied(verb, body, **more)
    error = orjson.loads(reply.body)["error"]
    assert error["code"] == reply.status
    return reply.status, error["type"], error["message"]


async def frames(
    verb: str, body: Mapping[str, object], *, backend: ScriptedBackend | None = None, path: str | None = None
) -> list[bytes]:
    models = models_of(backend or ScriptedBackend())
    asked = call("POST", path or f"/{verb}", dict(body) | {"stream": True}, models=models, persona="llamacpp")
    done = await answer(DIALECT.verbs[verb], asked)
    assert done.exchange is not None, "the answer was not a stream"
    return done.frames


async def events(verb: str, body: Mapping[str, object], **more: Any) -> list[Any]:
    """The JSON of each server-sent event; `[DONE]` stands for itself."""
    return [read_frame(frame) for frame in await frames(verb, body, **more)]


def read_frame(frame: bytes) -> Any:
    assert frame.startswith(b"data: ")
    assert frame.endswith(b"\n\n")
    data = frame[len(b"data: ") : -2]
    return "[DONE]" if data == b"[DONE]" else orjson.loads(data)


async def parsed(verb: str, body: object, **more: Any) -> GenerateRequest:
    """What reaches the backend."""
    return (await exchange(verb, body, **more)).request


async def exchange(verb: str, body: object, *, backend: ScriptedBackend | None = None, **more: Any) -> Exchange:
    models = models_of(backend or ScriptedBackend())
    outcome = await DIALECT.verbs[verb](call("POST", f"/{verb}", body, models=models, persona="llamacpp", **more))
    assert not isinstance(outcome, Reply)
    return outcome


def recorded(case: str) -> Answer:
    return read_recording(GOLDEN / f"{case}.resp", "POST")


def recorded_events(case: str) -> list[Any]:
    return [
        read_frame(part + b"\n\n") for chunk in recorded(case).chunks or () for part in chunk.split(b"\n\n") if part
    ]


def keys(value: Mapping[str, Any], *, but: Sequence[str] = ()) -> list[str]:
    return [key for key in value if key not in but]
