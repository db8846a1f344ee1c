"""The dialect of Hugging Face's text-generation-inference: its verbs, its errors, and what a browser may do.

Where it differs from the server on purpose:

- max_new_tokens beyond the window is clamped, where TGI refuses; clients send what another model could.
- More stop sequences, candidates and top tokens are allowed than by TGI's defaults, and /info says so.
- `presence_penalty` on /v1/chat/completions is one: TGI adds 2 to it and takes it for a repetition penalty.
- Thought and several calls in one answer are told; TGI knows neither.
- A JSON body is read whatever its Content-Type says, and a complaint about one doesn't say in which column.
"""

from __future__ import annotations

from collections.abc import Mapping

from adapters.axum import unknown_route, wrong_method
from adapters.base import Call, Dialect, Reply
from adapters.tgi.errors import error_reply
from adapters.tgi.generate import compat, generate, generate_stream
from adapters.tgi.openai import chat, completions
from adapters.tgi.probes import chat_tokenize, health, info, models, tokenize


def cors(_origin: str | None) -> Mapping[str, str]:
    """tower-http's layer says it to everybody."""
    vary = "origin, access-control-request-method, access-control-request-headers"
    return {"Access-Control-Allow-Origin": "*", "Vary": vary}


def preflight(_call: Call) -> Reply:
    headers = {"Access-Control-Allow-Methods": "GET,POST", "Access-Control-Allow-Headers": "content-type"}
    return Reply(b"", content_type="", headers=headers)


DIALECT = Dialect(
    name="tgi",
    verbs={
        "chat": chat,
        "chat_tokenize": chat_tokenize,
        "compat": compat,
        "completions": completions,
        "generate": generate,
        "generate_stream": generate_stream,
        "health": health,
        "info": info,
        "models": models,
        "tokenize": tokenize,
    },
    error=error_reply,
    unknown_route=unknown_route,
    wrong_method=wrong_method,
    preflight=preflight,
    cors=cors,
    public=frozenset({"chat_tokenize", "health", "info"}),
)
