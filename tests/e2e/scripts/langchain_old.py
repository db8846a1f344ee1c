"""Drives the Ollama classes of `langchain` 0.0; prints as JSON what they understood. Arguments: base URL."""

from __future__ import annotations

import json
import sys
from typing import Any

from langchain.chat_models import ChatOllama
from langchain.llms import Ollama
from langchain.schema import HumanMessage

ASKED: Any = {"base_url": sys.argv[1], "model": "demo", "temperature": 0.0}
MESSAGES = [HumanMessage(content="What are you?")]


def main() -> dict[str, Any]:
    text, chat = Ollama(**ASKED), ChatOllama(**ASKED)
    return {
        "text": [text.invoke("What are you?"), "".join(text.stream("What are you?"))],
        "chat": [chat.invoke(MESSAGES).content, "".join(piece.content for piece in chat.stream(MESSAGES))],
    }


print(json.dumps(main()))
