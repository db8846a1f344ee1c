"""llama-cpp-python's other routes: models, embeddings, and the tokenizer under /extras.

Wire facts: llama-cpp-python llama_cpp/server/app.py, llama_cpp/server/types.py, llama_cpp/llama.py (create_embedding).
"""

from __future__ import annotations

from typing import ClassVar

from adapters.base import Call, Reply
from adapters.llamacpp_python.body import PythonBody
from adapters.llamacpp_python.http import json_reply
from backends.errors import InvalidRequest


class EmbeddingBody(PythonBody):
    """Other fields are ignored, OpenAI's `encoding_format` among them: numbers are always written out."""

    handler: ClassVar[str] = "create_embedding"
    line: ClassVar[int] = 360

    input: str | list[str]


class TokenizeBody(PythonBody):
    handler: ClassVar[str] = "tokenize"
    line: ClassVar[int] = 555

    input: str


class CountBody(TokenizeBody):
    handler: ClassVar[str] = "count_query_tokens"
    line: ClassVar[int] = 570


class DetokenizeBody(PythonBody):
    handler: ClassVar[str] = "detokenize"
    line: ClassVar[int] = 585

    tokens: list[int]


async def models(call: Call) -> Reply:
    data = [{"id": served.name, "object": "model", "owned_by": "me", "permissions": []} for served in call.models.all()]
    return json_reply(call, {"object": "list", "data": data})


async def embeddings(call: Call) -> Reply:
    """Raises Unsupported where the model has no embeddings."""
    body = EmbeddingBody.parse(call)
    texts = [body.input] if isinstance(body.input, str) else body.input
    if not texts:
        raise InvalidRequest("llama_decode returned -1", param="input")
    served = call.models.resolve(body.model)
    async with call.models.acquire(served) as backend:
        made = await call.models.embed(served, backend, texts)
    data = [{"object": "embedding", "embedding": vector, "index": index} for index, vector in enumerate(made.vectors)]
    total = sum(made.num_tokens)
    usage = {"prompt_tokens": total, "total_tokens": total}
    model = body.model or served.info.path or served.name
    return json_reply(call, {"object": "list", "data": data, "model": model, "usage": usage})


async def tokenize(call: Call) -> Reply:
    return json_reply(call, {"tokens": await _tokens(call, TokenizeBody.parse(call))})


async def count(call: Call) -> Reply:
    return json_reply(call, {"count": len(await _tokens(call, CountBody.parse(call)))})


async def _tokens(call: Call, body: TokenizeBody) -> list[int]:
    """With the model's BOS in front, if it has one."""
    async with call.models.acquire(call.models.resolve(body.model)) as backend:
        return await backend.tokenize(body.input, add_special=True)


async def detokenize(call: Call) -> Reply:
    """Without special tokens. Raises InvalidField for an id outside the vocabulary."""
    body = DetokenizeBody.parse(call)
    async with call.models.acquire(call.models.resolve(body.model)) as backend:
        return json_reply(call, {"text": await backend.detokenize(body.tokens, skip_special=True)})
