"""Zed: every line is deserialized into structs whose fields must all be there."""

from __future__ import annotations

import json
from typing import Any

from tests.clients.client import Answer, Client, get, post
from tests.clients.reading import SYSTEM_AND_USER, capabilities, ndjson

FIM: Any = {"model": "demo", "prompt": "<PRE>def f(x):<SUF>\n<MID>", "max_tokens": 256, "temperature": 0.2, "stop": []}


def tags(answer: Answer) -> object:
    for model in answer.json["models"]:
        assert {"name", "modified_at", "size", "digest", "details"} <= model.keys()
        assert {"format", "family", "parameter_size", "quantization_level"} <= model["details"].keys()
    return answer.json


def chat_lines(answer: Answer) -> object:
    lines = ndjson(answer)
    assert all({"model", "created_at", "message", "done"} <= line.keys() for line in lines)
    assert all({"role", "content"} <= line["message"].keys() for line in lines)
    return "".join(line["message"]["content"] for line in lines)


def prediction(answer: Answer) -> object:
    assert {"id", "object", "created", "model", "choices", "usage"} <= answer.json.keys()
    return answer.json["choices"][0]["text"]


def data_lines(answer: Answer) -> object:
    """Only behind `data: `, with the blank."""
    events = [line.removeprefix("data: ") for line in answer.text.split("\n") if line.startswith("data: ")]
    choices = [json.loads(event)["choices"][0] for event in events if event != "[DONE]"]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


CLIENT = Client(
    "Zed",
    "zed-industries/zed crates/{ollama,open_ai}/src, crates/edit_prediction/src/open_ai_compatible.rs",
    ("ollama", "openai", "llamacpp"),
    [
        get("/api/tags", tags),
        post("probe", "/api/show", {"model": "demo"}, capabilities("tools")),
        post("chat", "/api/chat", {"model": "demo", "messages": SYSTEM_AND_USER, "stream": True, "keep_alive": -1,
                                   "options": {"num_ctx": 8192, "stop": []}, "think": None, "tools": []}, chat_lines),
        post("complete", "/v1/completions", FIM, prediction),
        post("complete", "/completions", FIM, prediction),
        post("stream", "/v1/chat/completions", {"model": "demo", "messages": SYSTEM_AND_USER, "stream": True,
                                                "max_completion_tokens": 256, "temperature": 1.0, "tools": [],
                                                "parallel_tool_calls": False}, data_lines),
    ],
)  # fmt: skip
