"""Privy, whose modelfusion checks every event against the fields that llama.cpp had early in 2024."""

from __future__ import annotations

import json
from typing import Any

from tests.clients.client import Answer, Client, post
from tests.clients.reading import ollama_generate_stream, sse

BODY: Any = {
    "stream": True,
    "temperature": 0.2,
    "top_k": 40,
    "n_predict": 24,
    "stop": ["</s>"],
    "cache_prompt": True,
    "prompt": "<s>[INST]Hi[/INST]",
}
SETTINGS: dict[str, type | tuple[type, ...]] = {
    "frequency_penalty": (int, float), "ignore_eos": bool, "logit_bias": list, "mirostat": (int, float),
    "mirostat_eta": (int, float), "mirostat_tau": (int, float), "model": str, "n_ctx": (int, float),
    "n_keep": (int, float), "n_predict": (int, float), "n_probs": (int, float), "penalize_nl": bool,
    "presence_penalty": (int, float), "repeat_last_n": (int, float), "repeat_penalty": (int, float),
    "seed": (int, float), "stop": list, "stream": bool, "tfs_z": (int, float), "top_k": (int, float),
    "top_p": (int, float), "typical_p": (int, float),
}  # fmt: skip
LAST: dict[str, type | tuple[type, ...]] = {
    "model": str, "prompt": str, "stopped_eos": bool, "stopped_limit": bool, "stopped_word": bool, "stopping_word": str,
    "tokens_cached": (int, float), "tokens_evaluated": (int, float), "tokens_predicted": (int, float),
    "truncated": bool,
}  # fmt: skip
TIMINGS = ("predicted_ms", "predicted_n", "predicted_per_second", "predicted_per_token_ms", "prompt_ms", "prompt_n",
           "prompt_per_second", "prompt_per_token_ms")  # fmt: skip


def stream(answer: Answer) -> object:
    *events, last = [json.loads(event) for event in sse(answer)]
    assert all(event["stop"] is False for event in events)
    assert last["stop"] is True
    wrong = [name for name, kind in LAST.items() if not isinstance(last.get(name), kind)]
    wrong += [name for name, kind in SETTINGS.items() if not isinstance(last["generation_settings"].get(name), kind)]
    wrong += [name for name in TIMINGS if not isinstance(last["timings"].get(name), int | float | None)]
    assert wrong == []
    return "".join(event["content"] for event in (*events, last))


CLIENT = Client(
    "Privy",
    "srikanth235/privy lib/extension/src/ai/AIClient.ts; modelfusion 0.122 LlamaCppCompletionModel.ts",
    ("llamacpp", "openai"),
    [
        post("probe", "/tokenize", {"content": "Hi"}, lambda answer: answer.json["tokens"]),
        post("chat", "/completion", BODY, stream, content_type="application/json"),
        post("stream", "/api/generate", {"stream": True, "model": "demo", "prompt": "Hi", "raw": True,
                                         "options": {"num_predict": 24}}, ollama_generate_stream),
    ],
)  # fmt: skip
