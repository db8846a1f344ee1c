"""Clients that were set up for Azure, or for an /api of somebody's own."""

from __future__ import annotations

from tests.clients.client import Client, post
from tests.clients.reading import USER, openai_chat, openai_chat_stream, openai_text

CLIENT = Client(
    "Azure-style",
    "openai-python lib/azure.py; recorded of LiteLLM and the AI SDK",
    ("openai", "llamacpp"),
    [
        post(
            "chat",
            "/openai/deployments/gpt-4/chat/completions?api-version=2024-02-01",
            {"messages": USER},
            openai_chat,
            api_key="none",
        ),
        post(
            "complete",
            "/openai/deployments/gpt-4/completions?api-version=2024-02-01",
            {"prompt": "Hi", "max_tokens": 24},
            openai_text,
            api_key="none",
        ),
        post(
            "stream",
            "/openai/v1/chat/completions",
            {"model": "gpt-4", "messages": USER, "stream": True},
            openai_chat_stream,
            api_key="none",
        ),
        post(
            "stream",
            "/api/v1/chat/completions",
            {"model": "gpt-4", "messages": USER, "stream": True},
            openai_chat_stream,
        ),
    ],
)
