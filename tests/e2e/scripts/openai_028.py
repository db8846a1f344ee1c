"""Drives the `openai` package of 2023; prints as JSON what it understood. Arguments: base URL."""

from __future__ import annotations

import json
import sys
from typing import Any

import openai

openai.api_base = sys.argv[1]
openai.api_key = "sk-none"
MESSAGES = [{"role": "user", "content": "What are you?"}]


def chat(**more: Any) -> Any:
    return openai.ChatCompletion.create(model="gpt-3.5-turbo", messages=MESSAGES, max_tokens=24, temperature=0, **more)


def refused() -> dict[str, Any]:
    try:
        openai.Completion.create(engine="code-davinci-002", prompt="word " * 100_000, max_tokens=1)
    except openai.error.InvalidRequestError as error:
        return {"status": error.http_status, "code": error.code, "message": str(error)}
    return {}


def main() -> dict[str, Any]:
    pieces = [chunk["choices"][0]["delta"].get("content", "") for chunk in chat(stream=True)]
    by_engine = {"engine": "code-davinci-002", "prompt": "import ", "max_tokens": 8, "temperature": 0}
    streamed = openai.Completion.create(stream=True, **by_engine)
    return {
        "models": [model["id"] for model in openai.Model.list()["data"]],
        "engines": [engine["id"] for engine in openai.Engine.list()["data"]],
        "chat": chat()["choices"][0]["message"]["content"],
        "streamed": "".join(piece or "" for piece in pieces),
        "text": openai.Completion.create(**by_engine)["choices"][0]["text"],
        "streamed_text": "".join(chunk["choices"][0]["text"] for chunk in streamed),
        "refused": refused(),
    }


print(json.dumps(main()))
