"""Continue's llama.cpp and llamafile providers; the base URL ends in /v1 for many of its users."""

from __future__ import annotations

import json

from tests.clients.client import Answer, Client, post
from tests.clients.reading import native_stream

BODY = {"prompt": "<s>[INST] Hi [/INST]", "stream": True, "n_predict": 24, "stop": ["[INST]"]}


def every_line(answer: Answer) -> object:
    """2023's: no line is skipped but empty ones, so a comment, an event's name or `[DONE]` kills the answer."""
    lines = [line for line in answer.text.split("\n") if line.strip()]
    return "".join(json.loads(line[6:])["content"] for line in lines)


CLIENTS = (
    Client(
        "Continue: llama.cpp",
        "continuedev/continue core/llm/llms/LlamaCpp.ts, core/llm/stream.ts",
        ("llamacpp", "openai"),
        [
            post("stream", path, BODY, native_stream, content_type="application/json", authorization="Bearer undefined")
            for path in ("/completion", "/v1/completion")
        ],
    ),
    Client(
        "Continue of 2023: llama.cpp",
        "continuedev/continue server/continuedev/libs/llm/llamacpp.py",
        ("llamacpp", "openai"),
        [post("stream", path, BODY, every_line) for path in ("/completion", "/v1/completion")],
    ),
)
