"""The chat participant `@tenstorrent`, and what tt-vscode-toolkit tells people to type."""

from __future__ import annotations

from tests.clients.client import Client, get, post
from tests.clients.reading import SYSTEM_AND_USER, openai_chat, openai_chat_stream, openai_models, openai_text

MODEL = "Llama-3.1-8B-Instruct"

CLIENT = Client(
    "@tenstorrent",
    "tenstorrent/tt-vscode-toolkit src/extension.ts, src/commands/terminalCommands.ts",
    ("openai",),
    [
        get("/health", lambda answer: answer.json),
        get("/v1/models", openai_models),
        post("complete", "/v1/completions", {"model": f"meta-llama/{MODEL}", "prompt": "Hi", "max_tokens": 32},
             openai_text),
        post("chat", "/v1/chat/completions", {"model": MODEL, "messages": SYSTEM_AND_USER, "max_tokens": 128},
             openai_chat),
        post("stream", "/v1/chat/completions", {"model": MODEL, "messages": SYSTEM_AND_USER, "max_tokens": 1024,
                                                "temperature": 0.7, "stream": True}, openai_chat_stream),
    ],
)  # fmt: skip
