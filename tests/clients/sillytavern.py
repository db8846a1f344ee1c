"""SillyTavern's text completions over llama.cpp and whatever speaks like OpenAI."""

from __future__ import annotations

import json
from typing import Any

from tests.clients.client import Answer, Client, get, post
from tests.clients.reading import openai_models, openai_text_stream, sse

BODY: Any = {"prompt": "Hi", "stream": True, "max_tokens": 24, "max_new_tokens": 24, "temperature": 0.7, "top_p": 0.9,
             "typical_p": 1, "min_p": 0, "repetition_penalty": 1, "rep_pen": 1, "sampler_seed": -1, "seed": -1,
             "stop": ["\nUser:"], "stopping_strings": ["\nUser:"], "n": 1}  # fmt: skip


def native(answer: Answer) -> object:
    events = [json.loads(event) for event in sse(answer)]
    return "".join(event["content"] for event in events)


CLIENTS = (
    Client(
        "SillyTavern: llama.cpp",
        "SillyTavern/SillyTavern src/endpoints/backends/text-completions.js",
        ("llamacpp", "openai"),
        [
            get("/v1/models", openai_models),
            get("/props", lambda answer: answer.json["default_generation_settings"]["n_ctx"]),
            post("probe", "/tokenize", {"content": "Hi"}, lambda answer: answer.json["tokens"]),
            post("stream", "/completion", BODY | {"n_predict": 24, "cache_prompt": True, "samplers": ["top_k", "top_p"],
                                                  "logit_bias": [], "grammar": ""}, native),
        ],
    ),
    Client(
        "SillyTavern: vLLM",
        "SillyTavern/SillyTavern src/endpoints/backends/text-completions.js",
        ("openai",),
        [
            get("/v1/models", openai_models),
            post("stream", "/v1/completions", BODY | {"model": "demo", "logit_bias": {}}, openai_text_stream),
        ],
    ),
)  # fmt: skip
