"""Drives the `anthropic` package of 2023, which knows text completions only; prints as JSON what it understood.
Arguments: base URL."""

from __future__ import annotations

import json
import sys
from typing import Any

import anthropic

client = anthropic.Anthropic(base_url=sys.argv[1], api_key="none", max_retries=0)
ASKED: Any = {
    "model": "claude-2",
    "prompt": f"{anthropic.HUMAN_PROMPT} What are you?{anthropic.AI_PROMPT}",
    "max_tokens_to_sample": 24,
    "temperature": 0,
}


def refused() -> dict[str, Any]:
    try:
        client.completions.create(**(ASKED | {"prompt": "word " * 100_000}))
    except anthropic.BadRequestError as error:
        return {"status": error.status_code, "body": error.body}
    return {}


def main() -> dict[str, Any]:
    whole = client.completions.create(**ASKED)
    pieces = list(client.completions.create(stream=True, **ASKED))
    return {
        "text": whole.completion,
        "reason": whole.stop_reason,
        "model": whole.model,
        "streamed": "".join(piece.completion for piece in pieces),
        "streamed_reasons": [piece.stop_reason for piece in pieces],
        "refused": refused(),
    }


print(json.dumps(main()))
