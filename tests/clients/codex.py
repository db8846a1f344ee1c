"""Codex CLI with `--oss`: Ollama's probes, then the Responses API."""

from __future__ import annotations

import json
from typing import Any

from tests.clients.client import Answer, Client, get, post
from tests.clients.reading import openai_models, sse, version_at_least

TOOLS: Any = [
    {"type": "function", "name": "shell", "description": "Runs", "strict": False,
     "parameters": {"type": "object", "properties": {"command": {"type": "array", "items": {"type": "string"}}}}},
    {"type": "web_search"},
]  # fmt: skip
BODY: Any = {
    "model": "gpt-oss:20b",
    "instructions": "You are a coding agent.",
    "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]}],
    "tools": TOOLS,
    "tool_choice": "auto",
    "parallel_tool_calls": False,
    "reasoning": None,
    "store": False,
    "stream": True,
    "include": [],
    "prompt_cache_key": "x",
}


def responses(answer: Answer) -> object:
    """Without `response.completed` and its id, the stream counts as broken off."""
    events = [json.loads(event) for event in sse(answer) if event != "[DONE]"]
    assert events[0]["type"] == "response.created"
    assert events[-1]["type"] == "response.completed"
    assert events[-1]["response"]["id"]
    assert events[-1]["response"]["usage"]["total_tokens"] > 0
    return "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")


CLIENT = Client(
    "Codex CLI",
    "openai/codex codex-rs/{ollama,codex-api}, as recorded",
    ("ollama", "openai"),
    [
        get("/v1/models", openai_models),
        get("/api/version", version_at_least(0, 13, 4)),
        get("/api/tags", lambda answer: [model["name"] for model in answer.json["models"]]),
        post("stream", "/v1/responses", BODY, responses, accept="text/event-stream", authorization="Bearer x"),
        post("stream", "/responses", BODY, responses, accept="text/event-stream"),
    ],
)
