"""gen.nvim: curl sends its JSON as a form. A line is an event when its last byte is a brace."""

from __future__ import annotations

import json
from typing import Any

from tests.clients.client import Answer, Client, get, post
from tests.clients.reading import USER, ollama_names

FORM = "application/x-www-form-urlencoded"


def _said(event: Any) -> str:
    """In its order: the second would be indexed with nil where `choices` had no `delta`."""
    if "message" in event:
        return str(event["message"]["content"])
    if "choices" in event:
        return str(event["choices"][0]["delta"].get("content") or "")
    return str(event["content"] if "content" in event else event["response"])


def stream(answer: Answer) -> object:
    events = []
    for line in answer.text.split("\n"):
        if line:
            assert line[-1] == "}"
            events.append(json.loads(line.removeprefix("data: ")))
    return "".join(map(_said, events))


CLIENT = Client(
    "gen.nvim",
    "David-Kunz/gen.nvim lua/gen/init.lua",
    ("ollama", "llamacpp"),
    [
        get("/api/tags", ollama_names),
        post("chat", "/api/chat", {"model": "demo", "messages": USER, "stream": True}, stream, content_type=FORM),
        post("stream", "/completion", {"prompt": "Hi", "stream": True, "n_predict": 24}, stream, content_type=FORM),
    ],
)
