"""MemGPT, later Letta: it asks for answers as long as the window, and joins its paths to a base URL that has one."""

from __future__ import annotations

from tests.clients.client import Client, post
from tests.clients.reading import native, openai_text

BODY = {"prompt": "### Instruction: Hi", "stop": ["\nUSER:"], "temperature": 0.1, "grammar": ""}

CLIENT = Client(
    "MemGPT",
    "letta-ai/letta letta/local_llm/{llamacpp,lmstudio,vllm}/api.py",
    ("llamacpp", "openai"),
    [
        post("complete", "/completion", BODY | {"n_predict": 3000}, native),
        post("complete", "/v1/completion", BODY | {"n_predict": 3000, "n_ctx": 8192}, native),
        post("complete", "/v1/completions", {"model": "local model", "prompt": "Hi", "max_tokens": 8192, "user": None,
                                             "lmstudio": {"context_overflow_policy": "stopAtLimit"}}, openai_text),
    ],
)  # fmt: skip
