"""tabby-agent, the language server of Tabby's editor extensions."""

from __future__ import annotations

import json
from typing import Any

from tests.clients.client import Answer, Client, get, post
from tests.clients.reading import USER, sse

AGENT = "Node.js/v20.11.0 tabby-agent/1.9.0 VSCode/1.90.0 TabbyML.vscode-tabby/1.20.0"
SEGMENTS: Any = {
    "language": "python",
    "segments": {
        "prefix": "def f(x):\n    return ",
        "suffix": "\n",
        "filepath": "a.py",
        "declarations": [],
        "clipboard": "",
    },
    "temperature": 0.1,
    "mode": "standard",
}


def health(answer: Answer) -> object:
    """Without `model` completion is off; the version is shown."""
    assert answer.json["model"]
    assert answer.json["device"]
    return answer.json["version"]["git_describe"]


def completion(answer: Answer) -> object:
    assert answer.json["id"]
    return answer.json["choices"][0]["text"]


def chat(answer: Answer) -> object:
    """It reads to the end of the stream: Tabby sends no `[DONE]`."""
    events = [json.loads(event) for event in sse(answer) if event != "[DONE]"]
    return "".join(event["choices"][0]["delta"].get("content") or "" for event in events)


CLIENT = Client(
    "Tabby agent",
    "TabbyML/tabby clients/tabby-agent/src/{TabbyApiClient,codeCompletion/buildRequest}.ts",
    ("tabby", "openai", "llamacpp"),
    [
        get("/v1/health", health, user_agent=AGENT),
        post("probe", "/v1/health", None, health, user_agent=AGENT),
        post("probe", "/v1/events", {"type": "view", "completion_id": "cmpl-1", "choice_index": 0},
             lambda answer: answer.status, user_agent=AGENT, content_type="application/json"),
        post("complete", "/v1/completions", SEGMENTS, completion, user_agent=AGENT, content_type="application/json"),
        post("stream", "/v1/chat/completions", {"messages": USER, "model": "", "stream": True}, chat, user_agent=AGENT,
             content_type="application/json", accept="text/event-stream"),
    ],
)  # fmt: skip
