"""Drives `litellm` through four of its providers; prints as JSON what it understood. Arguments: the base URL of a
gateway, that of its Ollama listener."""

from __future__ import annotations

import json
import sys
from typing import Any

import litellm

litellm.telemetry = False
litellm.suppress_debug_info = True
MESSAGES: Any = [{"role": "user", "content": "What are you?"}]
GATEWAY, OLLAMA = sys.argv[1:3]
PROVIDERS = {
    "openai/demo": f"{GATEWAY}/v1",
    "litellm_proxy/demo": GATEWAY,
    "ollama/demo": OLLAMA,
    "ollama_chat/demo": OLLAMA,
    "anthropic/demo": GATEWAY,
}


def asked(model: str, base: str, **more: Any) -> Any:
    return litellm.completion(
        model=model, messages=MESSAGES, api_base=base, api_key="none", max_tokens=24, temperature=0, **more
    )


def both(model: str, base: str) -> list[str]:
    """The text as a whole and as streamed."""
    pieces = [chunk.choices[0].delta.content or "" for chunk in asked(model, base, stream=True)]
    return [asked(model, base).choices[0].message.content, "".join(pieces)]


def main() -> dict[str, Any]:
    text = {"model": "text-completion-openai/demo", "prompt": "import ", "api_base": f"{GATEWAY}/v1", "api_key": "none"}
    return {
        "chats": {model: both(model, base) for model, base in PROVIDERS.items()},
        "text": litellm.text_completion(max_tokens=8, temperature=0, **text).choices[0].text,
    }


print(json.dumps(main()))
