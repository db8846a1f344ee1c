"""The OpenAI dialect: its verbs, its errors, and what a browser may do.

The persona answers as OpenAI's API and vLLM's OpenAI server do. Where the two differ:

- Errors are OpenAI's object with OpenAI's codes, since its SDKs read those; vLLM's integer codes aren't sent.
- `stop_reason`, `max_model_len`, `/version`, `/ping` and vLLM's request fields are vLLM's: OpenAI's SDKs keep them as
  extras.
- `stream_options: {}` asks for nothing (OpenAI); the first delta has a role and an empty content (both).
- A stream that fails ends with its error, without `[DONE]` (OpenAI; vLLM sends `[DONE]` all the same).
- A chat that names its function ends with `stop` (both), although a call is in it.
- max_tokens beyond the window is clamped, where both refuse: local clients send 3000 blindly.

/v1/responses leaves out hosted tools (and reports them), because Codex CLI always sends some; chat refuses custom
tools, because a client that sends them waits for nothing else. `background` answers at once, finished.
"""

from __future__ import annotations

from collections.abc import Mapping

from adapters.base import Call, Dialect, Reply
from adapters.openai.chat import chat
from adapters.openai.completions import completions
from adapters.openai.edits import edits
from adapters.openai.embeddings import embeddings
from adapters.openai.errors import error_reply, unknown_route, wrong_method
from adapters.openai.models import engine, engines, health, model, models, ping, version
from adapters.openai.response_routes import Responses
from adapters.openai.response_store import ResponseStore
from adapters.openai.tokens import detokenize, tokenize


def cors(origin: str | None) -> Mapping[str, str]:
    """Any page may call, as with vLLM's default; nothing is said to a client that isn't a page."""
    return {} if origin is None else {"Access-Control-Allow-Origin": "*"}


def preflight(call: Call) -> Reply:
    """As Starlette's CORS middleware answers: the headers that were asked for are granted."""
    headers = {
        "Access-Control-Allow-Methods": "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT",
        "Access-Control-Allow-Headers": call.headers.get("Access-Control-Request-Headers", "*"),
        "Access-Control-Max-Age": "600",
    }
    return Reply(b"OK", content_type="text/plain; charset=utf-8", headers=headers)


def make_dialect(store: ResponseStore) -> Dialect:
    """store: what /v1/responses remembers."""
    responses = Responses(store)
    return Dialect(
        name="openai",
        verbs={
            "chat": chat,
            "completions": completions,
            "detokenize": detokenize,
            "edits": edits,
            "embeddings": embeddings,
            "engine": engine,
            "engines": engines,
            "health": health,
            "model": model,
            "models": models,
            "ping": ping,
            "response": responses.retrieve,
            "response_cancel": responses.cancel,
            "response_delete": responses.delete,
            "response_input_items": responses.input_items,
            "response_input_tokens": responses.count,
            "responses": responses.create,
            "tokenize": tokenize,
            "version": version,
        },
        error=error_reply,
        unknown_route=unknown_route,
        wrong_method=wrong_method,
        preflight=preflight,
        cors=cors,
        public=frozenset({"health", "ping", "version"}),
    )


DIALECT = make_dialect(ResponseStore())
