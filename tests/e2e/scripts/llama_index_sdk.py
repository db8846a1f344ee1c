"""Drives llama-index's OpenAILike and Ollama; prints as JSON what they understood. Arguments: the base URL of a
gateway, that of its Ollama listener."""

from __future__ import annotations

import json
import sys
from typing import Any

from llama_index.core.llms import ChatMessage
from llama_index.llms.ollama import Ollama
from llama_index.llms.openai_like import OpenAILike

GATEWAY, OLLAMA = sys.argv[1:3]
MESSAGES = [ChatMessage(role="user", content="What are you?")]


def chat(model: Any) -> list[str]:
    return [model.chat(MESSAGES).message.content, "".join(piece.delta for piece in model.stream_chat(MESSAGES))]


def text(model: Any) -> list[str]:
    return [model.complete("import ").text, "".join(piece.delta for piece in model.stream_complete("import "))]


def main() -> dict[str, Any]:
    asked: Any = {"model": "demo", "api_base": f"{GATEWAY}/v1", "api_key": "none", "temperature": 0, "max_tokens": 24}
    ollama = Ollama(model="demo", base_url=OLLAMA, temperature=0, additional_kwargs={"num_predict": 24})
    return {
        "openai chat": chat(OpenAILike(is_chat_model=True, **asked)),
        "openai text": text(OpenAILike(is_chat_model=False, **asked)),
        "ollama chat": chat(ollama),
        "ollama text": text(ollama),
    }


print(json.dumps(main()))
