"""Wingman for VS Code."""

from __future__ import annotations

from tests.clients.client import Answer, Client, post
from tests.clients.reading import SYSTEM_AND_USER, openai_events


def trimmed(answer: Answer) -> object:
    choices = [choice for event in openai_events(answer) for choice in event["choices"]]
    return "".join(choice["delta"].get("content") or "" for choice in choices).strip()


CLIENT = Client(
    "Wingman: OpenAI",
    "nvms/wingman src/providers/{openai,sdks/openai}.ts",
    ("openai", "llamacpp", "ollama"),
    [
        post("stream", "/v1/chat/completions", {"model": "gpt-3.5-turbo", "messages": SYSTEM_AND_USER, "stream": True,
                                                "temperature": 0.3}, trimmed,
             content_type="application/json", accept="application/json", authorization="Bearer "),
    ],
)  # fmt: skip
