"""What the Ollama tests share: asking a verb as the gateway does, errors included, and reading what came back."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from adapters.ollama.dialect import DIALECT
from backends.errors import DragomanError
from backends.request import GenerateRequest, Prompt
from tests.fakes import HELLO, INFO, FakeModels, Script, ScriptedBackend, answer, call

USER = [{"role": "user", "content": "hi"}]
CHAT = {"model": "m", "messages": USER}
TOOLS = [{"type": "function", "function": {"name": "f", "description": "F", "parameters": {"type": "object"}}}]
PATHS = {
    "chat_v1": "/v1/chat/completions",
    "completions_v1": "/v1/completions",
    "models_v1": "/v1/models",
    "model_v1": "/v1/models/m",
    "embeddings_v1": "/v1/embeddings",
    "messages_v1": "/v1/messages",
    "responses_v1": "/v1/responses",
}
PLAIN = replace(INFO, capabilities=frozenset({"completion"}))
"""A model that only completes."""
JSON = "application/json"
JSON_UTF8 = "application/json; charset=utf-8"
NDJSON = "application/x-ndjson"


@dataclass(slots=True)
class Said:
    """An answer: its body, or the frames of a stream. ignored: what was reported as such."""

    status: int
    content_type: str
    body: bytes
    frames: list[bytes] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    models: FakeModels = field(default_factory=FakeModels.of)

    @property
    def json(self) -> Any:
        assert not self.frames, "the answer was a stream"
        return orjson.loads(self.body)

    @property
    def lines(self) -> list[Any]:
        """Of a native stream: one object a frame, ended by one line feed."""
        assert all(frame.endswith(b"\n") and frame.count(b"\n") == 1 for frame in self.frames)
        return [orjson.loads(frame) for frame in self.frames]

    @property
    def events(self) -> list[Any]:
        """Of a stream of the OpenAI layer; `[DONE]` is the string."""
        data = [frame.removeprefix(b"data: ").removesuffix(b"\n\n") for frame in self.frames]
        assert [b"data: " + each + b"\n\n" for each in data] == self.frames
        return ["[DONE]" if each == b"[DONE]" else orjson.loads(each) for each in data]

    @property
    def error(self) -> tuple[int, Any]:
        return self.status, orjson.loads(self.body)["error"]

    @property
    def request(self) -> GenerateRequest:
        """What reached the backend."""
        backend = self.models.served[0].backend
        assert isinstance(backend, ScriptedBackend)
        (request,) = backend.requests
        return request

    @property
    def prompt(self) -> Prompt:
        (prompt,) = self.request.prompts
        return prompt


async def ask(
    verb: str,
    body: object = None,
    script: Script = HELLO,
    *,
    models: FakeModels | None = None,
    params: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
    **backend: Any,
) -> Said:
    """The model is called `m` unless other models are given."""
    models = models or FakeModels.of(ScriptedBackend(script, **backend), name="m", refuses=True)
    asked = call(
        "POST", PATHS.get(verb, f"/api/{verb}"), body, models=models, persona="ollama", params=params, headers=headers
    )
    try:
        given = await answer(DIALECT.verbs[verb], asked)
    except DragomanError as error:
        reply = DIALECT.error(error, asked)
        return Said(reply.status, reply.content_type, reply.body, [], asked.ignored, models)
    if given.reply is None:
        assert given.exchange is not None
        return Said(200, given.exchange.content_type, b"", given.frames, asked.ignored, models)
    reply = given.reply
    return Said(reply.status, reply.content_type, reply.body, list(reply.frames), asked.ignored, models)
