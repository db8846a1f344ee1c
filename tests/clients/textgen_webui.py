"""Clients of text-generation-webui: those of its first API, and of the one that speaks like OpenAI's."""

from __future__ import annotations

from typing import Any

from tests.clients.client import Answer, Client, get, post
from tests.clients.reading import openai_text, openai_text_stream

FIRST: Any = {"prompt": "Hi", "max_new_tokens": 24, "do_sample": True, "temperature": 0.7, "top_p": 0.9, "typical_p": 1,
              "repetition_penalty": 1.1, "top_k": 40, "min_length": 0, "no_repeat_ngram_size": 0, "num_beams": 1,
              "penalty_alpha": 0, "length_penalty": 1, "early_stopping": False, "seed": -1, "add_bos_token": True,
              "truncation_length": 2048, "ban_eos_token": False, "skip_special_tokens": True,
              "stopping_strings": ["\nUser:"]}  # fmt: skip


def result(answer: Answer) -> object:
    (only,) = answer.json["results"]
    return only["text"]


CLIENTS = (
    Client(
        "LangChain 0.0: TextGen",
        "langchain 0.0.352 langchain_community/llms/textgen.py; letta letta/local_llm/webui/legacy_api.py",
        ("textgen", "kobold", "openai"),
        [
            get("/api/v1/model", lambda answer: answer.json["result"]),
            post("complete", "/api/v1/generate", FIRST, result, content_type="application/json"),
        ],
    ),
    Client(
        "SillyTavern: text-generation-webui",
        "SillyTavern/SillyTavern src/endpoints/{tokenizers,backends/text-completions}.js",
        ("textgen", "openai"),
        [
            get("/v1/internal/model/info", lambda answer: answer.json["model_name"]),
            post("probe", "/v1/internal/encode", {"text": "Hi"}, lambda answer: answer.json["length"]),
            post("complete", "/v1/completions", {"prompt": "Hi", "max_tokens": 24, "model": None}, openai_text),
            post("stream", "/v1/completions", {"prompt": "Hi", "max_tokens": 24, "stream": True, "preset": "",
                                               "truncation_length": 2048}, openai_text_stream),
        ],
    ),
)  # fmt: skip
