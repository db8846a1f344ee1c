"""Llama Coder, and Ollama Autocoder beside it: both parse what they read before they know what it is."""

from __future__ import annotations

import json
from typing import Any

from tests.clients.client import Answer, Client, get, post
from tests.clients.reading import ndjson

BODY: Any = {"model": "demo", "prompt": "<PRE> def f(x): <SUF>\n <MID>", "raw": True, "options": {"num_predict": 256,
             "temperature": 0.2}}  # fmt: skip


def exact_name(answer: Answer) -> object:
    """Compared with the configured name as it is; without an equal it asks to pull the model."""
    names = {model["name"] for model in answer.json["models"]}
    assert names & {"demo", "demo:latest"}
    return names


def characters(answer: Answer) -> object:
    """It iterates over `response` of every line, the last included."""
    return "".join(character for line in ndjson(answer) for character in line["response"])


def one_document_a_read(answer: Answer) -> object:
    return "".join(json.loads(chunk)["response"] for chunk in answer.chunks)


CLIENTS = (
    Client(
        "Llama Coder",
        "ex3ndr/llama-coder src/prompts/{provider,autocomplete}.ts, src/modules/ollamaTokenGenerator.ts",
        ("ollama", "openai"),
        [get("/api/tags", exact_name), post("stream", "/api/generate", BODY, characters)],
    ),
    Client(
        "Ollama Autocoder",
        "10Nates/ollama-autocoder src/extension.ts",
        ("ollama",),
        [
            post("stream", "/api/generate", {"model": "demo", "prompt": "def f(x):\n    return x", "raw": True,
                                             "stream": True, "options": {"num_predict": 24, "num_ctx": 21,
                                                                         "temperature": 0.5}}, one_document_a_read),
        ],
    ),
)  # fmt: skip
