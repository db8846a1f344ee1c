"""Drives the `mistralai` package's fill in the middle; prints as JSON what it understood. Arguments: server URL."""

from __future__ import annotations

import json
import sys
from typing import Any

from mistralai import Mistral
from mistralai.models import HTTPValidationError, SDKError

ASKED = {"model": "codestral-latest", "prompt": "def add(a, b):\n    return ", "suffix": "\n", "max_tokens": 12,
         "temperature": 0.0}  # fmt: skip


def too_long(client: Mistral) -> int:
    try:
        client.fim.complete(model="codestral-latest", prompt="x " * 40_000)
    except (SDKError, HTTPValidationError) as error:
        return int(error.status_code)
    return 0


def main() -> dict[str, Any]:
    with Mistral(api_key="any", server_url=sys.argv[1]) as client:
        whole = client.fim.complete(**ASKED)
        chunks = [event.data for event in client.fim.stream(**ASKED)]
        return {
            "text": whole.choices[0].message.content,
            "reason": whole.choices[0].finish_reason,
            "usage": whole.usage.completion_tokens,
            "streamed": "".join(chunk.choices[0].delta.content for chunk in chunks),
            "last": [chunks[-1].choices[0].finish_reason, chunks[-1].usage.completion_tokens],
            "too_long": too_long(client),
        }


print(json.dumps(main()))
