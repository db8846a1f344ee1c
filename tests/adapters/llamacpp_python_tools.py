"""What the llama-cpp-python tests share: asking a verb as the gateway does, and that server's recordings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from adapters.base import Call, Reply
from adapters.llamacpp_python.dialect import DIALECT
from backends.errors import DragomanError
from backends.request import GenerateRequest
from tests.conformance.recordings import read_recording
from tests.conformance.wire import Answer
from tests.fakes import HELLO, FakeModels, Script, ScriptedBackend, answer, call

GOLDEN = Path(__file__).parents[1] / "golden" / "llama-cpp-python"
PATHS = {
    "chat": "/v1/chat/completions",
    "completions": "/v1/completions",
    "embeddings": "/v1/embeddings",
    "tokenize": "/extras/tokenize",
    "count": "/extras/tokenize/count",
    "detokenize": "/extras/detokenize",
}
USER = [{"role": "user", "content": "hi"}]
FUNCTION = {"name": "get_weather", "description": "Get weather", "parameters": {"type": "object"}}
TOOLS = [{"type": "function", "function": FUNCTION}]
NAMED = {"type": "function", "function": {"name": "get_weather"}}


def asked(verb: str, body: object, backend: ScriptedBackend, **more: Any) -> Call:
    models = FakeModels.of(backend, name="tiny")
    headers = {"Content-Type": "application/json"} | more.pop("headers", {})
    return call("POST", PATHS[verb], body, models=models, persona="llamacpp-python", headers=headers, **more)


async def replied(verb: str, body: object, script: Script = HELLO, **backend: Any) -> Reply:
    """The whole answer, an error in the dialect's own shape included."""
    made = asked(verb, body, ScriptedBackend(script, **backend))
    try:
        done = await answer(DIALECT.verbs[verb], made)
    except DragomanError as error:
        return DIALECT.error(error, made)
    assert done.reply is not None, "the answer was a stream"
    return done.reply


async def ask(verb: str, body: object, script: Script = HELLO, **backend: Any) -> Any:
    reply = await replied(verb, body, script, **backend)
    assert reply.status == 200, reply.body
    return orjson.loads(reply.body)


async def frames(verb: str, body: Mapping[str, Any], script: Script = HELLO, **backend: Any) -> list[bytes]:
    made = asked(verb, dict(body) | {"stream": True}, ScriptedBackend(script, **backend))
    return (await answer(DIALECT.verbs[verb], made)).frames


async def stream(verb: str, body: Mapping[str, Any], script: Script = HELLO, **backend: Any) -> list[Any]:
    """The JSON of each event; `[DONE]` stands for itself."""
    return [read_frame(frame) for frame in await frames(verb, body, script, **backend)]


def read_frame(frame: bytes) -> Any:
    """Every event is as json.dumps writes it."""
    data = frame.removeprefix(b"data: ").removesuffix(b"\n\n")
    assert frame == b"data: " + data + b"\n\n"
    if data == b"[DONE]":
        return "[DONE]"
    value = orjson.loads(data)
    assert json.dumps(value).encode() == data
    return value


async def parsed(verb: str, body: Mapping[str, Any]) -> GenerateRequest:
    """The request that reaches the backend."""
    backend = ScriptedBackend()
    await answer(DIALECT.verbs[verb], asked(verb, body, backend))
    return backend.requests[0]


def recorded(case: str) -> Answer:
    return read_recording(GOLDEN / f"{case}.resp", "POST")


def recorded_body(case: str) -> bytes:
    """What was sent."""
    return (GOLDEN / f"{case}.req").read_bytes().partition(b"\r\n\r\n")[2]


def recorded_events(case: str) -> list[Any]:
    return [read_frame(chunk) for chunk in recorded(case).chunks or ()]
