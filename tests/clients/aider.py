"""aider, through LiteLLM: no Content-Type, one /api/show for each thing that it wants to know."""

from __future__ import annotations

from tests.clients.client import Client, get, post
from tests.clients.reading import (
    SYSTEM_AND_USER,
    capabilities,
    ollama_chat_stream,
    openai_chat,
    openai_chat_stream,
    openai_models,
)

CLIENT = Client(
    "aider",
    "Aider-AI/aider aider/models.py; BerriAI/litellm litellm/llms/ollama/{chat,completion}/transformation.py",
    ("ollama", "openai"),
    [
        post("probe", "/api/show", {"name": "demo"}, capabilities("completion")),
        get("/v1/models", openai_models),
        post("chat", "/v1/chat/completions", {"model": "demo", "messages": SYSTEM_AND_USER, "temperature": 0},
             openai_chat, x_stainless_lang="python"),
        post("stream", "/v1/chat/completions", {"model": "demo", "messages": SYSTEM_AND_USER, "stream": True},
             openai_chat_stream, x_stainless_lang="python"),
        post("stream", "/api/chat", {"model": "demo", "messages": SYSTEM_AND_USER, "stream": True,
                                     "options": {"num_ctx": 9442}}, ollama_chat_stream),
    ],
)  # fmt: skip
