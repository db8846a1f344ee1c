"""Clients of LM Studio's own API: Zed's provider and Cline's."""

from __future__ import annotations

import json

from tests.clients.client import Answer, Client, get, post
from tests.clients.reading import SYSTEM_AND_USER


def models(answer: Answer) -> object:
    """Zed's struct: every field must be there."""
    needed = {"id", "object", "type", "publisher", "arch", "compatibility_type", "state", "max_context_length"}
    assert all(needed <= model.keys() for model in answer.json["data"])
    assert {model["state"] for model in answer.json["data"]} <= {"loaded", "not-loaded", "loading"}
    return answer.json


def data_lines(answer: Answer) -> object:
    events = [line.removeprefix("data: ") for line in answer.text.split("\n") if line.startswith("data: ")]
    choices = [json.loads(event)["choices"][0] for event in events if event != "[DONE]"]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


CHAT = {"model": "demo", "messages": SYSTEM_AND_USER, "stream": True, "max_tokens": -1, "temperature": 0.7, "stop": []}

CLIENT = Client(
    "Zed and Cline: LM Studio",
    "zed-industries/zed crates/lmstudio/src/lmstudio.rs; cline/cline src/core/api/providers/lmstudio.ts",
    ("lmstudio", "openai"),
    [
        get("/api/v0/models", models),
        post("stream", "/api/v0/chat/completions", CHAT, data_lines, content_type="application/json"),
    ],
)
