"""Libraries of 2023 as they were recorded: LangChain's Ollama, ollama-python, vscode-chatgpt, openai-node 3."""

from __future__ import annotations

import json

from tests.clients.client import Answer, Client, get, post
from tests.clients.reading import (
    USER,
    ollama_chat_stream,
    ollama_generate,
    ollama_generate_stream,
    openai_chat_stream,
    openai_text_stream,
)

NULLS = dict.fromkeys(("mirostat", "mirostat_eta", "mirostat_tau", "num_ctx", "num_gpu", "num_thread", "repeat_last_n",
                       "repeat_penalty", "temperature", "stop", "tfs_z", "top_k", "top_p"))  # fmt: skip


def each_read_by_lines(answer: Answer) -> object:
    """openai-node 3's recipe: an event that was cut over two reads would break it."""
    text = ""
    for chunk in answer.chunks:
        for line in chunk.decode().split("\n"):
            event = line.removeprefix("data: ")
            if event and event != "[DONE]":
                text += json.loads(event)["choices"][0]["delta"].get("content") or ""
    return text


CLIENTS = (
    Client(
        "LangChain 0.0: Ollama",
        "langchain 0.0.352 langchain_community/llms/ollama.py, as recorded",
        ("ollama",),
        [
            post("stream", "/api/generate/", {"model": "demo", "prompt": "Hi", "format": None, "images": None,
                                              "options": NULLS, "system": None, "template": None},
                 ollama_generate_stream, content_type="application/json"),
            post("chat", "/api/chat/", {"model": "demo", "messages": USER, "format": None, "options": NULLS},
                 ollama_chat_stream, content_type="application/json"),
        ],
    ),
    Client(
        "ollama-python 0.1",
        "ollama-python 0.1.2, as recorded",
        ("ollama",),
        [
            post("probe", "/api/show", {"name": "demo"}, lambda answer: answer.json["modelfile"]),
            post("complete", "/api/generate", {"model": "demo", "prompt": "Hi", "system": "", "template": "",
                                               "context": [], "stream": False, "raw": False, "images": [],
                                               "format": "", "options": {}, "keep_alive": None}, ollama_generate),
            post("chat", "/api/chat", {"model": "demo", "messages": USER, "stream": True, "format": "", "options": {},
                                       "keep_alive": None}, ollama_chat_stream),
        ],
    ),
    Client(
        "vscode-chatgpt",
        "gencay/vscode-chatgpt 3.9 chatgpt-{4.7.2,5.1.1}/index.js",
        ("openai",),
        [
            post("stream", "/v1/completions", {"model": "text-davinci-003", "prompt": "Hi", "max_tokens": 24,
                                               "temperature": 0.8, "top_p": 1, "stream": True, "stop": ["<|im_end|>"]},
                 openai_text_stream),
            post("chat", "/v1/chat/completions", {"model": "gpt-3.5-turbo", "messages": USER, "stream": True,
                                                  "user": "x"}, openai_chat_stream),
        ],
    ),
    Client(
        "openai-node 3",
        "openai-node 3.3, and the recipe for its streams that its users copied (openai/openai-node#18)",
        ("openai",),
        [
            get("/v1/engines", lambda answer: answer.json["data"]),
            post("stream", "/v1/chat/completions", {"model": "gpt-3.5-turbo", "messages": USER, "stream": True},
                 each_read_by_lines, user_agent="OpenAI/NodeJS/3.3.0"),
        ],
    ),
)  # fmt: skip
