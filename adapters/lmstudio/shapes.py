"""What LM Studio tells of a model and of how fast an answer was.

Wire facts: lmstudio.ai/docs/developer/rest: endpoints (v0), list and chat (v1). Its clients know two formats of files,
of which `gguf` is told for every model: Zed takes no other word.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapters.base import Served
from adapters.ollama.models import human_number
from backends.base import BackendState
from backends.events import Completion, FinishReason, Timings

RUNTIME: Mapping[str, Any] = {"name": "dragoman", "version": "1.0.0", "supported_formats": ["gguf"]}
_STOP_REASONS: Mapping[FinishReason, str] = {
    "end": "eosFound",
    "stop_string": "stopStringFound",
    "length": "maxPredictedTokensReached",
    "tool_calls": "toolCalls",
}


def is_loaded(served: Served) -> bool:
    return served.backend.state is BackendState.READY


def is_embedding(served: Served) -> bool:
    return "completion" not in served.info.capabilities and "embedding" in served.info.capabilities


def card_v0(served: Served) -> dict[str, Any]:
    info = served.info
    kind = "embeddings" if is_embedding(served) else "vlm" if "vision" in info.capabilities else "llm"
    card: dict[str, Any] = {
        "id": served.name,
        "object": "model",
        "type": kind,
        "publisher": publisher(served),
        "arch": info.family,
        "compatibility_type": "gguf",
        "quantization": info.quantization,
        "state": "loaded" if is_loaded(served) else "not-loaded",
        "max_context_length": info.window,
    }
    if is_loaded(served):
        card["loaded_context_length"] = info.window
    if "tools" in info.capabilities:
        card["capabilities"] = ["tool_use"]
    return card


def card_v1(served: Served) -> dict[str, Any]:
    info = served.info
    card: dict[str, Any] = {
        "type": "embedding" if is_embedding(served) else "llm",
        "publisher": publisher(served),
        "key": served.name,
        "display_name": served.name,
        "architecture": info.family,
        "quantization": {"name": info.quantization, "bits_per_weight": _bits_per_weight(served)},
        "size_bytes": info.size_bytes,
        "params_string": human_number(info.num_parameters) if info.num_parameters else None,
        "loaded_instances": [{"id": served.name, "config": load_config(served)}] if is_loaded(served) else [],
        "max_context_length": info.window,
        "format": "gguf",
    }
    if not is_embedding(served):
        card["capabilities"] = {
            "vision": "vision" in info.capabilities,
            "trained_for_tool_use": "tools" in info.capabilities,
        }
        if "thinking" in info.capabilities:
            card["capabilities"]["reasoning"] = {"allowed_options": ["off", "on"], "default": "on"}
        card["description"] = None
    return card


def load_config(served: Served) -> dict[str, Any]:
    config: dict[str, Any] = {"context_length": served.info.window}
    return config if is_embedding(served) else config | {"parallel": max(1, len(served.backend.slots))}


def _bits_per_weight(served: Served) -> float | None:
    info = served.info
    return round(8 * info.size_bytes / info.num_parameters, 2) if info.num_parameters and info.size_bytes else None


def publisher(served: Served) -> str:
    owner, slash, _ = served.name.partition("/")
    return owner if slash else "dragoman"


def stats_v0(completion: Completion) -> dict[str, Any]:
    """Beside `usage`, in an answer of the v0 routes, with what ran it."""
    end = completion.ordered[-1].end
    return {
        "tokens_per_second": _speed(completion.usage.completion_tokens, end.timings),
        "time_to_first_token": round(_first_token_s(end.timings), 3),
        "generation_time": round(end.timings.decode_s, 3),
        "stop_reason": _STOP_REASONS[end.reason],
    }


def model_info_v0(served: Served) -> dict[str, Any]:
    info = served.info
    return {"arch": info.family, "quant": info.quantization, "format": "gguf", "context_length": info.window}


def stats_v1(completion: Completion) -> dict[str, Any]:
    usage, timings = completion.usage, completion.ordered[-1].end.timings
    stats = {
        "input_tokens": usage.prompt_tokens,
        "total_output_tokens": usage.completion_tokens,
        "reasoning_output_tokens": usage.reasoning_tokens,
        "tokens_per_second": _speed(usage.completion_tokens, timings),
        "time_to_first_token_seconds": round(_first_token_s(timings), 3),
    }
    return stats | ({"model_load_time_seconds": round(timings.load_s, 3)} if timings.load_s > 0 else {})


def _speed(num_tokens: int, timings: Timings) -> float:
    return num_tokens / timings.decode_s if timings.decode_s > 0 else 0.0


def _first_token_s(timings: Timings) -> float:
    return timings.queue_s + timings.prefill_s
