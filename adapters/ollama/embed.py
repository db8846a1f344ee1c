"""POST /api/embed and the older /api/embeddings.

Wire facts: ollama api/types.go (EmbedRequest, EmbeddingRequest), server/routes.go (EmbedHandler, EmbeddingsHandler).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import orjson
from pydantic import Field

from adapters.base import Call, Reply, Served
from adapters.ollama.body import GoBody, GoInt, KeepAlive
from adapters.ollama.json import nanoseconds, quoted
from adapters.ollama.models import json_reply
from adapters.ollama.names import resolve
from adapters.ollama.options import Options
from backends.base import Backend
from backends.errors import InvalidRequest, NotFound, PromptTooLong, UnknownModel

_TOO_LONG = "the input length exceeds the context length"

Matrix = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Embedded:
    """vectors [num_inputs, dimensions], each of length 1. load_s: until the model was there."""

    vectors: Matrix
    num_tokens: int
    load_s: float


class EmbedBody(GoBody):
    """truncate: Ollama cuts off what is too long unless told not to; here only when told to."""

    go_struct: ClassVar[str] = "EmbedRequest"

    model: str = ""
    input: Any = None
    keep_alive: KeepAlive | None = None
    truncate: bool | None = None
    dimensions: GoInt = 0
    options: dict[str, Any] = Field(default_factory=dict)

    def inputs(self) -> list[str]:
        match self.input:
            case None | "":
                return []
            case str():
                return [self.input]
            case list() if all(isinstance(item, str) for item in self.input):
                return self.input
            case _:
                raise InvalidRequest("invalid input type", param="input")


class EmbeddingsBody(GoBody):
    go_struct: ClassVar[str] = "EmbeddingRequest"

    model: str = ""
    prompt: str = ""
    keep_alive: KeepAlive | None = None
    options: dict[str, Any] = Field(default_factory=dict)


async def embed(call: Call) -> Reply:
    body = EmbedBody.parse(call)
    if not body.model.strip():
        raise UnknownModel(body.model)
    inputs = body.inputs()
    made = await embedded(call, body, inputs)
    if not inputs:
        return json_reply({"model": body.model, "embeddings": []})
    reply = {
        "model": body.model,
        "embeddings": orjson.Fragment(orjson.dumps(made.vectors, option=orjson.OPT_SERIALIZE_NUMPY)),
        "total_duration": nanoseconds(max(0.0, time.time() - call.received)),
        "load_duration": nanoseconds(made.load_s),
        "prompt_eval_count": made.num_tokens,
    }
    return json_reply({name: value for name, value in reply.items() if value})


async def embeddings(call: Call) -> Reply:
    """One vector, as long as the model made it. An empty prompt loads the model."""
    body = EmbeddingsBody.parse(call)
    if not body.model.strip():
        raise InvalidRequest("model is required", param="model")
    served = _scheduled(call, body.model, body.options)
    async with _held(call, served, body.keep_alive) as backend:
        made = await call.models.embed(served, backend, [body.prompt]) if body.prompt else None
    return json_reply({"embedding": made.vectors[0] if made else []})


async def embedded(call: Call, body: EmbedBody, inputs: Sequence[str]) -> Embedded:
    """Raises InvalidRequest for an input that is too long, Unsupported where the model has no embeddings."""
    served = _scheduled(call, body.model, body.options)
    async with _held(call, served, body.keep_alive) as backend:
        load_s = max(0.0, time.time() - call.received)
        if not inputs:
            return Embedded(np.zeros((0, 0), np.float32), 0, load_s)
        try:
            fitting = await _cut(backend, inputs) if body.truncate else inputs
            made = await call.models.embed(served, backend, fitting)
        except PromptTooLong as error:
            numbers = f": {error.num_prompt_tokens} tokens, but {error.window} fit"
            raise InvalidRequest(_TOO_LONG + ("" if body.truncate is False else numbers)) from None
    vectors = _normalised(np.array(made.vectors, np.float32))
    if 0 < body.dimensions < vectors.shape[1]:
        vectors = _normalised(vectors[:, : body.dimensions])
    return Embedded(vectors, sum(made.num_tokens), load_s)


@contextlib.asynccontextmanager
async def _held(call: Call, served: Served, keep_alive: float | None) -> AsyncIterator[Backend]:
    """The model, and then for so long after its last request, where that was said."""
    async with call.models.acquire(served) as backend:
        if keep_alive is not None:
            call.models.keep_alive(served, keep_alive)
        yield backend


def _scheduled(call: Call, model: str, options: dict[str, Any]) -> Served:
    """Raises NotFound in the words of Ollama's scheduler, or Fault for an option of a wrong type."""
    try:
        served = resolve(call, model)
    except UnknownModel:
        raise NotFound(f"model {quoted(model)} not found, try pulling it first", param="model") from None
    Options(options, call)
    return served


async def _cut(backend: Backend, inputs: Sequence[str]) -> list[list[int]]:
    window = backend.info.window
    return [(await backend.tokenize(text, add_special=True))[:window] for text in inputs]


def _normalised(vectors: Matrix) -> Matrix:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.ascontiguousarray(vectors / np.maximum(lengths, 1e-12), np.float32)
