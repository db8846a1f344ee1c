"""Drives `huggingface_hub`'s InferenceClient; prints as JSON what it understood. Arguments: base URL."""

from __future__ import annotations

import json
import sys
from typing import Any

from huggingface_hub import InferenceClient

client = InferenceClient(sys.argv[1], timeout=60)
PROMPT = "def add(a, b):"
USER = [{"role": "user", "content": "What are you?"}]


def main() -> dict[str, Any]:
    detailed = client.text_generation(PROMPT, max_new_tokens=12, details=True)
    events = list(client.text_generation(PROMPT, max_new_tokens=12, details=True, stream=True))
    chat = client.chat_completion(USER, max_tokens=12, temperature=0)
    chunks = client.chat_completion(USER, max_tokens=12, temperature=0, stream=True)
    return {
        "text": client.text_generation(PROMPT, max_new_tokens=12),
        "full": client.text_generation(PROMPT, max_new_tokens=12, return_full_text=True),
        "details": [detailed.details.finish_reason, detailed.details.generated_tokens],
        "streamed": "".join(client.text_generation(PROMPT, max_new_tokens=12, stream=True)),
        "last": [events[-1].generated_text, events[-1].details.finish_reason, events[-1].details.generated_tokens],
        "chat": chat.choices[0].message.content,
        "chat_streamed": "".join(chunk.choices[0].delta.content or "" for chunk in chunks),
    }


print(json.dumps(main()))
