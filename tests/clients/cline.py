"""Cline and Roo Code."""

from __future__ import annotations

from typing import Any

from tests.clients.client import Answer, Client, get, post
from tests.clients.reading import (
    SYSTEM_AND_USER,
    capabilities,
    ollama_chat_stream,
    ollama_names,
    openai_chat_stream,
    openai_chat_stream_with_usage,
    openai_models,
)

CHAT: Any = {"model": "demo", "messages": SYSTEM_AND_USER, "temperature": 0, "stream": True}
USAGE: Any = {"stream_options": {"include_usage": True}}


def listed(answer: Answer) -> object:
    """Checked with zod."""
    for model in answer.json["models"]:
        assert all(isinstance(model[key], str) for key in ("name", "model", "modified_at", "digest"))
        assert isinstance(model["size"], int)
        assert all(isinstance(model["details"][key], str) for key in ("family", "parameter_size", "format"))
    return answer.json


CLIENTS = (
    Client(
        "Cline",
        "cline/cline src/core/api/providers/{openai,litellm,ollama}.ts",
        ("openai", "ollama", "llamacpp"),
        [
            get("/api/tags", ollama_names),
            get("/v1/models", openai_models),
            post("chat", "/v1/chat/completions", CHAT | USAGE, openai_chat_stream_with_usage,
                 x_stainless_lang="js", user_agent="OpenAI/JS 4.83.0"),
            post("chat", "/chat/completions", CHAT, openai_chat_stream, x_stainless_lang="js"),
            post("stream", "/api/chat", CHAT | {"options": {"num_ctx": 32768}}, ollama_chat_stream),
        ],
    ),
    Client(
        "Roo Code",
        "RooCodeInc/Roo-Code src/api/providers/native-ollama.ts, fetchers/ollama.ts",
        ("ollama",),
        [
            get("/api/tags", listed),
            post("probe", "/api/show", {"model": "demo"}, capabilities("tools")),
            post("stream", "/api/chat", CHAT | {"options": {"temperature": 0, "num_ctx": 32768}}, ollama_chat_stream),
        ],
    ),
)  # fmt: skip
