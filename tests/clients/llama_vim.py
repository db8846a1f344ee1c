"""llama.vim. `model` is always "", and an answer that isn't compact JSON is dropped without a word."""

from __future__ import annotations

import re
from typing import Any

from tests.clients.client import Answer, Client, post
from tests.clients.reading import openai_chat

FLAT = ["content", "timings/prompt_n", "timings/prompt_ms", "timings/prompt_per_second", "timings/predicted_n",
        "timings/predicted_ms", "timings/predicted_per_second", "truncated", "tokens_cached"]  # fmt: skip
EXTRA = [{"text": "import os\n", "time": [1700000000, 1], "filename": "a.py"}]
FILL: Any = {
    "input_prefix": "def f(x):\n",
    "input_suffix": "\n",
    "input_extra": EXTRA,
    "prompt": "    return ",
    "n_predict": 128,
    "stop": [],
    "n_indent": 4,
    "top_k": 40,
    "top_p": 0.9,
    "stream": False,
    "samplers": ["top_k", "top_p", "infill"],
    "cache_prompt": True,
    "t_max_prompt_ms": 500,
    "t_max_predict_ms": 1000,
    "response_fields": FLAT,
    "model": "",
}
WARM: Any = FILL | {"prompt": "", "n_predict": 0, "samplers": [], "t_max_predict_ms": 1, "response_fields": [""]}


def fill(answer: Answer) -> object:
    assert re.search(r'"content"\s*:"', answer.text)
    assert "\n" not in answer.text.strip()
    assert all(isinstance(answer.json[key], int | float) for key in FLAT if key.startswith("timings/"))
    return answer.json["content"]


CLIENT = Client(
    "llama.vim",
    "ggml-org/llama.vim autoload/llama.vim",
    ("llamacpp", "openai"),
    [
        post("probe", "/infill", WARM, lambda answer: answer.json, content_type="application/json"),
        post("complete", "/infill", FILL, fill, content_type="application/json"),
        post("chat", "/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}], "model": "",
                                              "cache_prompt": True, "stream": False, "samplers": [], "n_predict": 24},
             openai_chat, content_type="application/json"),
    ],
)  # fmt: skip
