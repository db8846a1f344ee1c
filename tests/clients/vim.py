"""Editors without a marketplace: ChatGPT.nvim, minuet, gptel and its kin."""

from __future__ import annotations

import json

from tests.clients.client import Answer, Client, post
from tests.clients.reading import (
    SYSTEM_AND_USER,
    USER,
    ollama_chat_stream,
    openai_chat,
    openai_chat_stream,
    openai_text_stream,
)


def until_done(answer: Answer) -> object:
    """It ends on a line that is `[DONE]`, which one with a carriage return isn't."""
    lines = [line.removeprefix("data: ") for line in answer.text.split("\n") if line]
    assert lines[-1] == "[DONE]"
    return "".join(json.loads(line)["choices"][0]["delta"].get("content") or "" for line in lines[:-1])


CHAT = {"model": "gpt-3.5-turbo", "messages": SYSTEM_AND_USER, "temperature": 0, "max_tokens": 300, "stream": True}

CLIENTS = (
    Client(
        "ChatGPT.nvim",
        "jackMort/ChatGPT.nvim lua/chatgpt/api.lua",
        ("openai", "llamacpp"),
        [
            post("stream", "/v1/chat/completions", CHAT | {"frequency_penalty": 0, "presence_penalty": 0, "top_p": 1,
                                                           "n": 1}, until_done, content_type="application/json"),
            post("chat", "/v1/chat/completions", CHAT | {"stream": False}, openai_chat),
        ],
    ),
    Client(
        "minuet-ai.nvim",
        "milanglacier/minuet-ai.nvim lua/minuet/backends/{openai_base,openai_fim_compatible}.lua",
        ("openai", "llamacpp", "ollama"),
        [
            post("stream", "/v1/completions", {"model": "demo", "prompt": "def f(x):", "suffix": "\n", "stream": True,
                                               "max_tokens": 56, "top_p": 0.9}, openai_text_stream),
            post("chat", "/v1/chat/completions", CHAT, openai_chat_stream),
        ],
    ),
    Client(
        "gptel",
        "karthink/gptel gptel-{openai,ollama}.el; ahyatt/llm llm-llamacpp.el",
        ("openai", "ollama", "llamacpp"),
        [
            post("stream", "/v1/chat/completions", CHAT | {"temperature": 1.0}, openai_chat_stream),
            post("stream", "/chat/completions", CHAT, openai_chat_stream),
            post("chat", "/api/chat", {"model": "demo", "messages": USER, "stream": True,
                                       "options": {"temperature": 1.0}}, ollama_chat_stream),
        ],
    ),
)  # fmt: skip
