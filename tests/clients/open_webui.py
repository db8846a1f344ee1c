"""Open WebUI: a name without a tag becomes `NAME:latest`."""

from __future__ import annotations

from tests.clients.client import Client, get, post
from tests.clients.reading import USER, ollama_chat_stream, openai_chat_stream, openai_models, version_at_least

CLIENT = Client(
    "Open WebUI",
    "open-webui/open-webui backend/open_webui/routers/{ollama,openai}.py",
    ("ollama", "openai"),
    [
        get("/api/version", version_at_least(0, 1)),
        get("/api/tags", lambda answer: [model["model"] for model in answer.json["models"]]),
        get("/api/ps", lambda answer: [model["expires_at"] for model in answer.json["models"]]),
        get("/v1/models", openai_models, authorization="Bearer "),
        post("stream", "/api/chat", {"model": "demo:latest", "messages": USER, "stream": True, "options": {}},
             ollama_chat_stream),
        post("chat", "/v1/chat/completions", {"model": "demo", "messages": USER, "stream": True}, openai_chat_stream),
    ],
)  # fmt: skip
