"""Continue's Ollama provider in its three generations."""

from __future__ import annotations

import json

from tests.clients.client import Answer, Client, get, post
from tests.clients.reading import USER, ollama_chat_stream, ollama_generate_stream, ollama_names

TEXT = "text/plain;charset=UTF-8"
OPTIONS = {"num_predict": 24, "num_ctx": 8192, "stop": ["<|endoftext|>"]}


def show(answer: Answer) -> object:
    """`parameters` are lines of a name and a value, of which stops are JSON."""
    for line in (answer.json.get("parameters") or "").splitlines():
        name, value = line.split(maxsplit=1)
        assert name != "stop" or isinstance(json.loads(value), str)
    return answer.json


def show_can_infill(answer: Answer) -> object:
    """Without `.Suffix` in the template it makes prompts of its own."""
    assert ".Suffix" in answer.json["template"]
    return show(answer)


def reads_as_documents(answer: Answer) -> object:
    """2023's splits each read at line breaks, and parses every piece."""
    pieces = [piece for chunk in answer.chunks for piece in chunk.decode().split("\n") if piece]
    return "".join(json.loads(piece)["response"] for piece in pieces)


CLIENTS = (
    Client(
        "Continue: Ollama",
        "continuedev/continue core/llm/llms/Ollama.ts",
        ("ollama", "openai"),
        [
            get("/api/tags", ollama_names),
            post("probe", "/api/show", {"name": "demo"}, show_can_infill, authorization="Bearer "),
            post("chat", "/api/chat", {"model": "demo", "messages": USER, "options": OPTIONS, "keep_alive": 1800},
                 ollama_chat_stream),
            post("stream", "/api/generate", {"model": "demo", "prompt": "def f(x):\n    ", "suffix": "\n",
                                             "options": OPTIONS, "keep_alive": 1800}, ollama_generate_stream),
        ],
    ),
    Client(
        "Continue of 2024: Ollama",
        "continuedev/continue v0.8.20 core/llm/llms/Ollama.ts",
        ("ollama",),
        [
            post("probe", "/api/show", {"name": "demo"}, show, content_type=TEXT),
            post("stream", "/api/generate", {"model": "demo", "prompt": "<PRE> def f(x): <SUF> <MID>", "raw": True,
                                             "keep_alive": 1800, "options": OPTIONS}, ollama_generate_stream,
                 content_type=TEXT),
        ],
    ),
    Client(
        "Continue of 2023: Ollama",
        "continuedev/continue server/continuedev/libs/llm/ollama.py",
        ("ollama",),
        [
            post("probe", "/api/generate", {"prompt": "", "model": "demo"}, lambda answer: answer.json["done"]),
            post("stream", "/api/generate", {"template": "[INST] Hi [/INST]", "model": "demo", "system": None,
                                             "options": {"temperature": 0.5}}, reads_as_documents),
        ],
    ),
)  # fmt: skip
