"""CodeGPT for JetBrains (ProxyAI), whose EventSource wants `text/event-stream` and nothing else."""

from __future__ import annotations

from typing import Any

from tests.clients.client import Client, get, post
from tests.clients.reading import (
    SYSTEM_AND_USER,
    native_stream,
    ollama_generate_stream,
    ollama_names,
    openai_chat_stream,
)

FILL: Any = {"stream": True, "n_predict": 128, "temperature": 0.1, "input_prefix": "def f(x):", "input_suffix": "\n",
             "stop": ["<EOT>"]}  # fmt: skip
PLAIN: Any = {"prompt": "Hi", "n_predict": 24, "stream": True, "temperature": 0.1, "top_k": 40, "top_p": 0.9,
              "min_p": 0.05, "repeat_penalty": 1.1, "stop": []}  # fmt: skip

CLIENT = Client(
    "CodeGPT for JetBrains",
    "carlrobertoh/ProxyAI; carlrobertoh/llm-client LlamaClient.java, OllamaClient.java, CompletionClientProvider.java",
    ("llamacpp", "ollama", "openai"),
    [
        get("/api/tags", ollama_names),
        post("probe", "/api/show", {"name": "demo"}, lambda answer: answer.json["details"]),
        post("stream", "/infill", FILL, native_stream, accept="text/event-stream"),
        post("stream", "/completion", PLAIN, native_stream, accept="text/json"),
        post("stream", "/api/generate", {"model": "demo", "prompt": "def f(x):", "suffix": "\n", "stream": True,
                                         "options": {"num_predict": 128}}, ollama_generate_stream),
        post("chat", "/v1/chat/completions", {"model": "gpt-4", "messages": SYSTEM_AND_USER, "stream": True,
                                              "max_tokens": 1000, "temperature": 0.1}, openai_chat_stream,
             accept="text/event-stream"),
    ],
)  # fmt: skip
