"""Drives the `ollama` package; prints as JSON what it understood. Arguments: host."""

from __future__ import annotations

import json
import sys
from typing import Any

import ollama

client = ollama.Client(host=sys.argv[1])
OPTIONS = {"temperature": 0, "num_predict": 24}
MESSAGES = [{"role": "user", "content": "What are you?"}]
SCHEMA = {"type": "object", "properties": {"answer": {"type": "string", "enum": ["yes", "no"]}}, "required": ["answer"]}


def unknown() -> dict[str, Any]:
    try:
        client.show("nobody")
    except ollama.ResponseError as error:
        return {"status": error.status_code, "error": error.error}
    return {}


def main() -> dict[str, Any]:
    shown = client.show("demo")
    whole = client.chat("demo", MESSAGES, options=OPTIONS)
    pieces = list(client.chat("demo", MESSAGES, options=OPTIONS, stream=True))
    text = client.generate("demo", "What can you do?", options=OPTIONS)
    text_pieces = client.generate("demo", "What can you do?", options=OPTIONS, stream=True)
    filled = client.generate("demo", "def add(a, b):\n    return ", suffix="\n", options=OPTIONS)
    structured = client.chat("demo", MESSAGES, format=SCHEMA, options=OPTIONS | {"num_predict": 64})
    return {
        "models": [model.model for model in client.list().models],
        "running": [model.model for model in client.ps().models],
        "capabilities": shown.capabilities,
        "family": shown.details.family,
        "chat": whole.message.content,
        "done_reason": whole.done_reason,
        "eval_count": whole.eval_count,
        "durations": [whole.total_duration, whole.prompt_eval_duration, whole.eval_duration],
        "streamed": "".join(piece.message.content for piece in pieces),
        "generated": text.response,
        "streamed_generated": "".join(piece.response for piece in text_pieces),
        "context": len(text.context),
        "filled": filled.response,
        "structured": json.loads(structured.message.content),
        "unknown": unknown(),
    }


print(json.dumps(main()))
