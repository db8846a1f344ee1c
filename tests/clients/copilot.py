"""GitHub Copilot's chat with models of one's own, through Ollama."""

from __future__ import annotations

from tests.clients.client import Answer, Client, get, post
from tests.clients.reading import (
    SYSTEM_AND_USER,
    capabilities,
    openai_chat_stream_with_usage,
    version_at_least,
)

TOOL = {"type": "function", "function": {"name": "read_file", "description": "Reads", "parameters": {
    "type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}}}  # fmt: skip


def models(answer: Answer) -> object:
    return [model["model"] for model in answer.json["models"]]


CLIENT = Client(
    "Copilot, bring your own key: Ollama",
    "microsoft/vscode-copilot-chat src/extension/byok/vscode-node/ollamaProvider.ts, node/openAIEndpoint.ts",
    ("ollama",),
    [
        get("/api/version", version_at_least(0, 6, 4)),
        get("/api/tags", models),
        post("probe", "/api/show", {"model": "demo:latest"}, capabilities("tools"), content_type="application/json"),
        post("stream", "/v1/chat/completions", {"model": "demo:latest", "messages": SYSTEM_AND_USER, "stream": True,
                                                "stream_options": {"include_usage": True}, "temperature": 0.1,
                                                "top_p": 1, "n": 1, "tools": [TOOL]}, openai_chat_stream_with_usage,
             user_agent="GitHubCopilotChat/0.40.0", authorization="Bearer ", x_initiator="user"),
    ],
)  # fmt: skip
