"""Twinny. 1 and 2 send no Content-Type and parse each read as one document; 3 sends whatever body to whatever route."""

from __future__ import annotations

import json
from typing import Any

from tests.clients.client import Answer, Client, get, post
from tests.clients.reading import (
    USER,
    native_stream,
    ollama_generate_stream,
    ollama_names,
    openai_chat_stream,
    openai_text_stream,
)

BODY: Any = {"model": "demo", "prompt": "<PRE> def f(x): <SUF> <MID>", "options": {"temperature": 0.2}}
CHAT: Any = {"messages": USER, "stream": True, "n_predict": -1, "temperature": 0.2}


def each_read(answer: Answer) -> object:
    """`json.response.match(…)` of every one: the last must have a response too."""
    return "".join(json.loads(chunk)["response"] + "" for chunk in answer.chunks)


CLIENTS = (
    Client(
        "Twinny 2",
        "twinnydotdev/twinny v2.6.3 src/utils.ts, src/providers/completion.ts",
        ("ollama",),
        [post("stream", "/api/generate", BODY, each_read, is_chunked=True)],
    ),
    Client(
        "Twinny 3",
        "twinnydotdev/twinny v3.11.0 and v3.17.10 src/extension/{stream,provider-options}.ts",
        ("openai", "llamacpp", "ollama"),
        [
            get("/api/tags", ollama_names),
            post("stream", "/api/generate", BODY | {"stream": True}, ollama_generate_stream, authorization=""),
            post("stream", "/ollama/api/generate", BODY | {"stream": True}, ollama_generate_stream, authorization=""),
            post("chat", "/v1/chat/completions", CHAT | BODY, openai_chat_stream, authorization=""),
            post("chat", "/completion", CHAT, native_stream, authorization=""),
            post("stream", "/v1/completions", {"prompt": "x", "stream": True, "n_predict": 24, "temperature": 0.2},
                 openai_text_stream),
        ],
    ),
    Client(
        "Twinny 3: Ooba",
        "twinnydotdev/twinny v3.11.0 src/extension/provider-options.ts",
        ("openai",),
        [post("stream", "/v1/completions", CHAT | {"max_tokens": 24}, openai_text_stream)],
    ),
)  # fmt: skip
