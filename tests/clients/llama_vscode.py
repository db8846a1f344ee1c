"""llama.vscode. The status bar reads `generation_settings.n_ctx` and calls `toFixed` on timings, both unguarded."""

from __future__ import annotations

from typing import Any

from tests.clients.client import Answer, Client, get, post
from tests.clients.reading import SYSTEM_AND_USER, openai_chat

FILL: Any = {
    "input_prefix": "def f(x):\n",
    "input_suffix": "\n",
    "input_extra": [{"text": "import os\n", "time": 1700000000, "filename": "a.py"}],
    "prompt": "    return ",
    "n_predict": 128,
    "top_k": 40,
    "top_p": 0.99,
    "stream": False,
    "samplers": ["top_k", "top_p", "infill"],
    "cache_prompt": True,
    "n_indent": 4,
    "t_max_prompt_ms": 500,
    "t_max_predict_ms": 2500,
}
WARM: Any = {"input_prefix": "", "input_suffix": "", "input_extra": [], "prompt": "", "n_predict": 0, "samplers": [],
             "cache_prompt": True, "t_max_prompt_ms": 500, "t_max_predict_ms": 1}  # fmt: skip
EDIT: Any = {
    "messages": SYSTEM_AND_USER,
    "stream": False,
    "cache_prompt": True,
    "samplers": "edkypmxt",
    "temperature": 0.8,
    "dynatemp_range": 0,
    "dynatemp_exponent": 1,
    "top_k": 40,
    "top_p": 0.95,
    "min_p": 0.05,
    "typical_p": 1,
    "xtc_probability": 0,
    "xtc_threshold": 0.1,
    "repeat_last_n": 64,
    "repeat_penalty": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "dry_multiplier": 0,
    "dry_base": 1.75,
    "dry_allowed_length": 2,
    "dry_penalty_last_n": -1,
    "max_tokens": -1,
    "timings_per_token": False,
}


def fill(answer: Answer) -> object:
    """One object, or an array of them where several answers were asked for."""
    filled = answer.json if isinstance(answer.json, list) else [answer.json]
    for one in filled:
        assert one["generation_settings"]["n_ctx"] > 0
        assert one["tokens_cached"] >= 0
        for name in ("prompt_ms", "prompt_per_second", "predicted_ms", "predicted_per_second"):
            round(one["timings"][name], 2)
    return filled[0]["content"]


def window(answer: Answer) -> object:
    return answer.json["default_generation_settings"]["n_ctx"] + 0


def is_llamacpp(answer: Answer) -> object:
    (model,) = answer.json["data"]
    assert model["owned_by"] == "llamacpp" or model["meta"]
    return model["id"]


CLIENT = Client(
    "llama.vscode",
    "ggml-org/llama.vscode src/{llama-server,completion,statusbar,llama-chat-model-provider}.ts",
    ("llamacpp",),
    [
        get("/health", lambda answer: answer.json["status"]),
        get("/v1/models", is_llamacpp),
        get("/props?model=demo&autoload=false", window),
        post("probe", "/infill", WARM, lambda answer: answer.json["content"]),
        post("probe", "/v1/embeddings", {"input": "x", "model": "GPT-4", "encoding_format": "float"},
             lambda answer: answer.json["data"][0]["embedding"]),
        post("probe", "/apply-template", {"messages": SYSTEM_AND_USER}, lambda answer: answer.json["prompt"]),
        post("probe", "/tokenize", {"content": "x"}, lambda answer: answer.json["tokens"]),
        post("complete", "/infill", FILL, fill, authorization="Bearer "),
        post("complete", "/infill", FILL | {"n_cmpl": 3}, fill),
        post("chat", "/v1/chat/completions", EDIT, openai_chat),
    ],
)  # fmt: skip
