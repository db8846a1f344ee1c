"""The dialect of text-generation-webui: its API of 2023, and what it adds to OpenAI's today.

Where it differs from the server on purpose:

- The old API streamed over WebSockets at a port of its own; here it is any port. A socket is closed with 1011 after an
  error, as there, and the reason says which.
- A chat is put by the model's own template, not by a character's.
- A prompt that is too long is refused; the server cuts its beginning off without a word.
"""

from __future__ import annotations

from typing import ClassVar

from adapters import fastapi
from adapters.base import Call, Dialect, Reply
from adapters.framing import to_json
from adapters.generations import Generations
from adapters.openai.common import resolve
from adapters.openai.completions import CompletionBody, CompletionExchange
from adapters.openai.dialect import cors, preflight
from adapters.textgen import probes
from adapters.textgen.exchange import Generating
from backends.errors import DragomanError, Unauthorized


class TextgenBody(CompletionBody):
    default_length: ClassVar[int | None] = 512


async def completions(call: Call) -> CompletionExchange:
    """OpenAI's, but longer by default."""
    body = TextgenBody.parse(call)
    return CompletionExchange(call, resolve(call, body.model), body.request(call.id), body.options())


def error_reply(error: DragomanError, call: Call) -> Reply:
    """What a body lacks is told as FastAPI does; everything else nearly as OpenAI's API does. For the reason that a
    WebSocket is closed with, there is room for the words alone."""
    if isinstance(error, Unauthorized):
        return fastapi.detail("Unauthorized", 401)
    if "Upgrade" in call.headers:
        return Reply(error.message.encode(), error.status, "text/plain; charset=utf-8")
    kind = "server_error" if error.status >= 500 else "invalid_request_error"
    shape = {"message": error.message, "type": kind, "param": error.param, "code": None}
    return fastapi.rejection(error) or Reply(to_json({"error": shape}), error.status)


def make_dialect(generations: Generations) -> Dialect:
    """generations: what its stop routes end."""
    generating = Generating(generations)
    return Dialect(
        name="textgen",
        verbs={
            "chat": generating.chat,
            "chat_prompt": probes.chat_prompt,
            "chat_stream": generating.chat_stream,
            "completions": completions,
            "decode": probes.decode,
            "encode": probes.encode,
            "generate": generating.generate,
            "health": probes.health,
            "legacy_model": probes.legacy_model,
            "legacy_model_action": probes.legacy_model_action,
            "legacy_token_count": probes.legacy_token_count,
            "logits": generating.logits,
            "lora_list": probes.lora_list,
            "model_info": probes.model_info,
            "model_list": probes.model_list,
            "model_load": probes.model_load,
            "model_unload": probes.model_unload,
            "models": probes.models,
            "stop_generation": generating.stop_generation,
            "stop_stream": generating.stop_stream,
            "stream": generating.stream,
            "token_count": probes.token_count,
        },
        error=error_reply,
        unknown_route=fastapi.unknown_route,
        wrong_method=fastapi.wrong_method,
        preflight=preflight,
        cors=cors,
        headers={"Server": "uvicorn"},
        sockets=frozenset({"stream", "chat_stream"}),
    )


DIALECT = make_dialect(Generations())
