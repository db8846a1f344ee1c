"""Drives the `ollama` package of early 2024; prints as JSON what it understood. Arguments: host."""

from __future__ import annotations

import json
import sys
from typing import Any

import ollama

client = ollama.Client(host=sys.argv[1])
OPTIONS: Any = {"temperature": 0, "num_predict": 24}
MESSAGES: Any = [{"role": "user", "content": "What are you?"}]


def main() -> dict[str, Any]:
    pieces = client.chat("demo", MESSAGES, options=OPTIONS, stream=True)
    lines = client.generate("demo", "What can you do?", options=OPTIONS, stream=True)
    return {
        "models": [model["name"] for model in client.list()["models"]],
        "family": client.show("demo")["details"]["family"],
        "chat": [
            client.chat("demo", MESSAGES, options=OPTIONS)["message"]["content"],
            "".join(piece["message"]["content"] for piece in pieces),
        ],
        "text": [
            client.generate("demo", "What can you do?", options=OPTIONS)["response"],
            "".join(line["response"] for line in lines),
        ],
        "embedding": len(client.embeddings("demo", "x")["embedding"]),
    }


print(json.dumps(main()))
