"""TGI's routes that generate nothing: /info, /health, /v1/models, /tokenize and /chat_tokenize.

Wire facts: text-generation-inference router/src/server.rs, lib.rs (Info, SimpleToken, ChatTokenizeResponse).
"""

from __future__ import annotations

from typing import Any

from adapters.base import Call, Reply, Served
from adapters.framing import to_json
from adapters.openai.chat_body import ChatBody
from adapters.tgi.body import LIMITS, GenerateBody
from backends.base import Backend, BackendState

VERSION = "3.3.7"
"""Whose API this is. Clients choose by it what they may send."""


async def info(call: Call) -> Reply:
    """max_input_length, model_dtype and model_device_type are what the server before 2.0 told; Continue reads them."""
    served = call.models.resolve(None)
    window = served.info.window
    body = {
        "model_id": served.name,
        "model_sha": served.info.digest or None,
        "model_dtype": served.info.quantization,
        "model_device_type": "cpu",
        "model_pipeline_tag": "text-generation",
        "max_concurrent_requests": max(1, len(served.backend.slots)),
        "max_best_of": LIMITS.best_of,
        "max_stop_sequences": LIMITS.stop_sequences,
        "max_input_tokens": window - 1,
        "max_input_length": window - 1,
        "max_total_tokens": window,
        "validation_workers": 1,
        "max_client_batch_size": LIMITS.client_batch_size,
        "router": "text-generation-router",
        "version": VERSION,
        "sha": None,
        "docker_label": None,
    }
    return Reply(to_json(body))


async def health(call: Call) -> Reply:
    """Nothing but the status, when all is well."""
    match call.models.resolve(None).backend.state:
        case BackendState.STARTING | BackendState.FAILED:
            return Reply(b'{"error":"unhealthy","error_type":"healthcheck"}', 503)
        case BackendState.READY | BackendState.STOPPED | BackendState.STOPPING:
            return Reply(b"", content_type="")


async def models(call: Call) -> Reply:
    data = [{"id": x.name, "object": "model", "created": 0, "owned_by": x.name} for x in call.models.all()]
    return Reply(to_json({"object": "list", "data": data}))


async def tokenize(call: Call) -> Reply:
    body = GenerateBody.parse(call)
    async with call.models.acquire(call.models.resolve(None)) as backend:
        return Reply(to_json(await _tokens(backend, body.inputs, add_special=True)))


async def chat_tokenize(call: Call) -> Reply:
    body = ChatBody.parse(call)
    served = resolve(call, body.model)
    async with call.models.acquire(served) as backend:
        text = await backend.render_chat(body.chat_prompt())
        tokens = await _tokens(backend, text, add_special=False)
    return Reply(to_json({"tokenize_response": tokens, "templated_text": text}))


def resolve(call: Call, model: str | None) -> Served:
    """`tgi` is what its documents tell OpenAI's clients to call the model. Raises UnknownModel."""
    return call.models.resolve(None if model == "tgi" else model)


async def _tokens(backend: Backend, text: str, *, add_special: bool) -> list[dict[str, Any]]:
    """start and stop count bytes; a token that isn't in the text, such as the begin of text, is at 0."""
    data, place, tokens = text.encode(), 0, []
    for token_id in await backend.tokenize(text, add_special=add_special):
        piece = await backend.token_bytes(token_id)
        if not data.startswith(piece, place):
            piece = piece.removeprefix(b" ")  # what some tokenizers put in front of a text
        start, stop = (place, place + len(piece)) if data.startswith(piece, place) and piece else (0, 0)
        place = max(place, stop)
        text_there = data[start:stop].decode("utf-8", "replace")
        tokens.append({"id": token_id, "text": text_there, "start": start, "stop": stop})
    return tokens
