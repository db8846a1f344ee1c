"""Cody's experimental Ollama support, whose samplers may be negative."""

from __future__ import annotations

from tests.clients.client import Client, get, post
from tests.clients.reading import USER, ollama_chat_stream, ollama_generate_stream, ollama_names

OPTIONS = {"stop": ["\n\n"], "temperature": 0.2, "top_k": -1, "top_p": -1, "tfs_z": 256, "num_predict": 256}

CLIENT = Client(
    "Cody: Ollama",
    "sourcegraph/cody lib/shared/src/llm-providers/ollama/{completions,chat}-client.ts",
    ("ollama",),
    [
        get("/api/tags", ollama_names),
        post("stream", "/api/generate", {"model": "demo", "prompt": "<PRE> x <SUF> <MID>", "template": "{{ .Prompt }}",
                                         "options": OPTIONS}, ollama_generate_stream),
        post("chat", "/api/chat", {"model": "demo", "messages": USER, "options": OPTIONS}, ollama_chat_stream),
    ],
)  # fmt: skip
