"""`generation_settings`: a request's fields as the server tells them back. Knows no route.

Numbers are what the server's 32-bit floats hold (0.95 comes back as 0.949999988079071). After today's keys come those
of early 2024, which old clients still require (modelfusion's LlamaCppCompletionModel, llama.vscode's status bar).
Source: llama.cpp tools/server/server-task.cpp, task_params::to_json.
"""

from __future__ import annotations

import math
from typing import Any

from adapters.llamacpp.field_types import single
from adapters.llamacpp.fields import RANDOM_SEED, Fields
from backends.request import Gbnf

_CHAT_FORMATS = {0: "Content-only", 1: "peg-simple", 2: "peg-native", 3: "peg-gemma4", 4: "peg-minimax-m3"}
_ONLY_IN_FULL = frozenset({
    "dry_sequence_breakers", "stop", "logit_bias", "grammar", "grammar_lazy", "grammar_triggers", "preserved_tokens",
})  # fmt: skip


def generation_settings(fields: Fields, *, window: int, model: str) -> dict[str, Any]:
    """window: tokens; model: the served name."""
    return _full(fields, fields.reasoning_format) | {
        "n_ctx": window,
        "model": model,
        "tfs_z": 1.0,
        "penalize_nl": False,
    }


def brief_settings(fields: Fields, reasoning_format: str) -> dict[str, Any]:
    """As `/props` and `/slots` have it."""
    return {key: value for key, value in _full(fields, reasoning_format).items() if key not in _ONLY_IN_FULL}


def _full(fields: Fields, reasoning_format: str) -> dict[str, Any]:
    return {
        "seed": fields.seed % (RANDOM_SEED + 1),
        "temperature": single(fields.temperature),
        "dynatemp_range": single(fields.dynatemp_range),
        "dynatemp_exponent": single(fields.dynatemp_exponent),
        "top_k": fields.top_k,
        "top_p": single(fields.top_p),
        "min_p": single(fields.min_p),
        "top_n_sigma": single(fields.top_n_sigma),
        "xtc_probability": single(fields.xtc_probability),
        "xtc_threshold": single(fields.xtc_threshold),
        "typical_p": single(fields.typical_p),
        "repeat_last_n": fields.repeat_last_n,
        "repeat_penalty": single(fields.repeat_penalty),
        "presence_penalty": single(fields.presence_penalty),
        "frequency_penalty": single(fields.frequency_penalty),
        "dry_multiplier": single(fields.dry_multiplier),
        "dry_base": single(fields.dry_base),
        "dry_allowed_length": fields.dry_allowed_length,
        "dry_penalty_last_n": fields.dry_penalty_last_n,
        "dry_sequence_breakers": list(fields.dry_sequence_breakers),
        "mirostat": fields.mirostat,
        "mirostat_tau": single(fields.mirostat_tau),
        "mirostat_eta": single(fields.mirostat_eta),
        "adaptive_target": single(fields.adaptive_target),
        "adaptive_decay": single(fields.adaptive_decay),
        "stop": list(fields.stop),
        "max_tokens": fields.n_predict,
        "n_predict": fields.n_predict,
        "n_keep": fields.n_keep,
        "n_discard": fields.n_discard,
        "ignore_eos": fields.ignore_eos,
        "stream": fields.stream,
        "logit_bias": _logit_bias(fields),
        "n_probs": fields.n_probs,
        "min_keep": fields.min_keep,
        "grammar": fields.output.grammar if isinstance(fields.output, Gbnf) else "",
        "grammar_lazy": fields.grammar_lazy,
        "grammar_triggers": [],
        "preserved_tokens": [],
        "chat_format": _CHAT_FORMATS.get(fields.chat_format, _CHAT_FORMATS[0]),
        "reasoning_format": reasoning_format,
        "reasoning_in_content": fields.stream and reasoning_format == "deepseek-legacy",
        "generation_prompt": fields.generation_prompt,
        "samplers": list(fields.samplers),
        "speculative.types": "none",
        "timings_per_token": fields.timings_per_token,
        "post_sampling_probs": fields.post_sampling_probs,
        "backend_sampling": fields.backend_sampling,
        "lora": [{"id": adapter, "scale": scale} for adapter, scale in fields.lora],
    }


def _logit_bias(fields: Fields) -> list[dict[str, float | None]]:
    """By id alone: which tokens a text stands for isn't known here. A ban is null, since JSON has no infinity."""
    return [
        {"bias": None if math.isinf(bias) else single(bias), "token": token}
        for token, bias in fields.logit_bias
        if isinstance(token, int)
    ]
