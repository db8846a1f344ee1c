"""Continue's and Zed's requests to Codestral, whose fill in the middle has a route of its own."""

from __future__ import annotations

import json
from typing import Any

from tests.clients.client import Answer, Client, post
from tests.clients.reading import USER, openai_chat_stream, openai_events

FIM: Any = {"model": "codestral-latest", "prompt": "def f(x):\n    ", "suffix": "\n", "max_tokens": 24,
            "temperature": 0.01, "stop": ["\n\n"]}  # fmt: skip


def deltas(answer: Answer) -> object:
    """Its chunks are a chat's, though the request is a completion's."""
    return "".join(event["choices"][0]["delta"]["content"] or "" for event in openai_events(answer))


def message(answer: Answer) -> object:
    choice = json.loads(answer.text)["choices"][0]
    return choice["message"]["content"]


CLIENT = Client(
    "Continue: Mistral",
    "continuedev/continue packages/openai-adapters/src/apis/OpenAI.ts (fim/completions); zed crates/codestral",
    ("mistral", "openai"),
    [
        post("stream", "/v1/fim/completions", FIM | {"stream": True}, deltas, x_api_key="none"),
        post("complete", "/v1/fim/completions", FIM, message, authorization="Bearer none"),
        post("chat", "/v1/chat/completions", {"model": "codestral-latest", "messages": USER, "stream": True},
             openai_chat_stream),
    ],
)  # fmt: skip
