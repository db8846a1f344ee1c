"""Drives `langchain-openai` and `langchain-ollama`; prints as JSON what they understood. Arguments: the base URL of a
gateway, that of its Ollama listener."""

from __future__ import annotations

import json
import sys
from typing import Any

from langchain_ollama import ChatOllama, OllamaLLM
from langchain_openai import ChatOpenAI, OpenAI

GATEWAY, OLLAMA = sys.argv[1:3]


def chat(model: Any) -> list[str]:
    return [model.invoke("What are you?").content, "".join(piece.content for piece in model.stream("What are you?"))]


def text(model: Any) -> list[str]:
    return [model.invoke("import "), "".join(model.stream("import "))]


def main() -> dict[str, Any]:
    openai: Any = {"base_url": f"{GATEWAY}/v1", "api_key": "none", "model": "demo", "temperature": 0, "max_tokens": 24}
    ollama: Any = {"base_url": OLLAMA, "model": "demo", "temperature": 0, "num_predict": 24}
    place = {"type": "object", "properties": {"at": {"type": "string", "enum": ["a", "b"]}}, "required": ["at"]}
    tool = {"type": "function", "function": {"name": "look", "description": "Looks", "parameters": place}}
    forced = ChatOpenAI(**openai | {"max_tokens": 64}).bind_tools([tool], tool_choice="look")
    return {
        "openai chat": chat(ChatOpenAI(**openai)),
        "openai text": text(OpenAI(**openai)),
        "ollama chat": chat(ChatOllama(**ollama)),
        "ollama text": text(OllamaLLM(**ollama)),
        "tool": forced.invoke("Look!").tool_calls[0]["name"],
    }


print(json.dumps(main()))
