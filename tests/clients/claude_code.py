"""Claude Code's requests: named events, in which each block begins, grows and ends."""

from __future__ import annotations

import json
from typing import Any

from tests.clients.client import Answer, Client, get, post

VERSION = "2023-06-01"
BETA = "claude-code-20250219,interleaved-thinking-2025-05-14"
BODY: Any = {
    "model": "claude-sonnet-4-5",
    "max_tokens": 32000,
    "system": [{"type": "text", "text": "You are Claude Code.", "cache_control": {"type": "ephemeral"}}],
    "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}]}],
    "metadata": {"user_id": "user_x"},
    "tools": [{"name": "Bash", "description": "Runs", "input_schema": {"type": "object", "properties": {}}}],
}


def message(answer: Answer) -> object:
    return "".join(block["text"] for block in answer.json["content"] if block["type"] == "text")


def stream(answer: Answer) -> object:
    """An event without a name is dropped by its SDK."""
    events = []
    for block in answer.text.strip().split("\n\n"):
        name, data = block.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        events.append(event)
    assert [events[0]["type"], events[-1]["type"]] == ["message_start", "message_stop"]
    assert events[0]["message"]["usage"]["input_tokens"] > 0
    deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    return "".join(delta["text"] for delta in deltas if delta["type"] == "text_delta")


CLIENT = Client(
    "Claude Code",
    "@anthropic-ai/claude-code, as recorded; anthropic-sdk-typescript src/lib/MessageStream.ts",
    ("anthropic", "openai", "llamacpp", "ollama"),
    [
        get("/", lambda answer: answer.status),
        post("probe", "/v1/messages/count_tokens?beta=true", {key: BODY[key] for key in ("model", "messages")},
             lambda answer: answer.json["input_tokens"] + 0, anthropic_version=VERSION, x_api_key="x"),
        post("chat", "/v1/messages?beta=true", BODY, message, anthropic_version=VERSION, authorization="Bearer x"),
        post("stream", "/v1/messages?beta=true", BODY | {"stream": True}, stream, anthropic_version=VERSION,
             anthropic_beta=BETA, x_api_key="x"),
        post("stream", "/v1/v1/messages", BODY | {"stream": True}, stream, anthropic_version=VERSION, x_api_key="x"),
    ],
)  # fmt: skip
