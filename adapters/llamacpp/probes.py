"""What clients ask llama.cpp's server about itself: health, models, properties, slots, adapters, counters.

Source: llama.cpp tools/server/server-context.cpp (get_res_models, get_res_props, init_routes).
"""

from __future__ import annotations

import zlib
from typing import Any

from adapters.base import Call, Reply, Served
from adapters.framing import JSON_UTF8, to_json
from adapters.llamacpp.common import BUILD_INFO, json_reply
from adapters.llamacpp.errors import Refusal, read_keys
from adapters.llamacpp.fields import Fields
from adapters.llamacpp.settings import brief_settings
from backends.base import BackendState, ModelInfo, Slot
from backends.errors import BackendFailed, Busy, NotReady

_VOCAB_BPE = 2  # LLAMA_VOCAB_TYPE_BPE
_DEFAULTS = Fields()


async def health(call: Call) -> Reply:
    """Of the default model. One that is loaded on demand counts as healthy before it is loaded."""
    served = call.models.resolve(None)
    check_loaded(served)
    if served.backend.state is BackendState.FAILED:
        raise BackendFailed(served.backend.phase)
    return json_reply({"status": "ok"})


def check_loaded(served: Served) -> None:
    """Raises NotReady."""
    if served.backend.state is BackendState.STARTING:
        raise NotReady(served.backend.phase, retry_after_s=1)


async def models(call: Call) -> Reply:
    """Ollama's listing and OpenAI's in one object, as the server has it."""
    check_loaded(call.models.resolve(None))
    served = call.models.all()
    listing = [_listed(model) for model in served]
    return json_reply({"models": listing, "object": "list", "data": [_described(model) for model in served]})


def _listed(model: Served) -> dict[str, Any]:
    return {
        "name": model.name,
        "model": model.name,
        "modified_at": "",
        "size": "",
        "digest": "",
        "type": "model",
        "description": "",
        "tags": [""],
        "capabilities": _capabilities(model.info),
        "parameters": "",
        "details": {
            "parent_model": "",
            "format": "gguf",
            "family": "",
            "families": [""],
            "parameter_size": "",
            "quantization_level": "",
        },
    }


def _capabilities(info: ModelInfo) -> list[str]:
    """`embedding` is not a word of llama.cpp's; it tells that vectors can be had, mean-pooled if not by a model
    made for them."""
    words = {"completion": "completion", "vision": "multimodal", "embedding": "embedding"}
    return [word for capability, word in words.items() if capability in info.capabilities]


def _described(model: Served) -> dict[str, Any]:
    info = model.info
    return {
        "id": model.name,
        "aliases": [model.name, *model.aliases],
        "tags": [],
        "object": "model",
        "created": int(model.created),
        "owned_by": "llamacpp",
        "meta": {
            "vocab_type": _VOCAB_BPE,
            "n_vocab": info.vocab_size,
            "n_ctx": info.window,
            "n_ctx_train": info.trained_window or info.window,
            "n_embd": info.hidden_size,
            "n_params": info.num_parameters,
            "size": info.size_bytes,
            "ftype": info.quantization,
        },
    }


async def props(call: Call) -> Reply:
    served = _queried(call)
    info = served.info
    return json_reply({
        "default_generation_settings": {"params": brief_settings(_DEFAULTS, "none"), "n_ctx": info.window},
        "total_slots": len(served.backend.slots) or 1,
        "model_alias": served.name,
        "model_ftype": info.quantization,
        "model_path": info.path,
        "modalities": {"vision": "vision" in info.capabilities, "video": False, "audio": False},
        "media_marker": "<__media__>",
        "endpoint_slots": True,
        "endpoint_props": False,
        "endpoint_metrics": call.totals is not None,
        "ui": False,
        "ui_settings": {},
        "chat_template": info.chat_template,
        "chat_template_caps": _template_caps(info),
        "bos_token": info.bos_token,
        "eos_token": info.eos_token,
        "build_info": BUILD_INFO,
        "is_sleeping": served.backend.state is BackendState.STOPPED,
        "cors_proxy_enabled": False,
    })  # fmt: skip


def _template_caps(info: ModelInfo) -> dict[str, bool]:
    has_tools, has_thinking = "tools" in info.capabilities, "thinking" in info.capabilities
    return {
        "supports_object_arguments": has_tools,
        "supports_parallel_tool_calls": has_tools,
        "supports_preserve_reasoning": has_thinking,
        "supports_reasoning_effort": has_thinking,
        "supports_string_content": True,
        "supports_system_role": True,
        "supports_tool_calls": has_tools,
        "supports_tools": has_tools,
        "supports_typed_content": False,
    }


async def props_set(_call: Call) -> Reply:
    raise Refusal(
        "This server does not support changing global properties. Start it with `--props`", "not_supported_error"
    )


async def slots(call: Call) -> Reply:
    """`?fail_on_no_slot=1`: 503 when all are busy."""
    served = _queried(call)
    places = served.backend.slots
    if call.query.get("fail_on_no_slot") and all(slot.request_id is not None for slot in places):
        raise Busy("no slot available")
    return json_reply([_slot(slot, served.info.window) for slot in places])


def _slot(slot: Slot, window: int) -> dict[str, Any]:
    """`params` are the server's defaults but for the length: a slot doesn't know what its request asked for."""
    shape: dict[str, Any] = {
        "id": slot.id,
        "n_ctx": window,
        "speculative": False,
        "is_processing": slot.request_id is not None,
    }
    if slot.request_id is None:
        return shape
    limit = slot.num_generated_tokens + slot.num_remaining_tokens if slot.num_remaining_tokens >= 0 else -1
    return shape | {
        "id_task": zlib.crc32(slot.request_id.encode()) >> 1,
        "n_prompt_tokens": slot.num_prompt_tokens + slot.num_generated_tokens,
        "n_prompt_tokens_processed": slot.num_prompt_tokens,
        "n_prompt_tokens_cache": 0,
        "params": brief_settings(Fields(n_predict=limit), "deepseek"),
        "next_token": [
            {
                "has_next_token": slot.num_remaining_tokens != 0,
                "has_new_line": False,
                "n_remain": slot.num_remaining_tokens,
                "n_decoded": slot.num_generated_tokens,
            }
        ],
    }


async def slot_action(_call: Call) -> Reply:
    """Save, restore, erase: the cache here is shared by all requests, so no slot has one to save."""
    raise Refusal("This server does not support slots action. Start it with `--slot-save-path`", "not_supported_error")


async def transcriptions(_call: Call) -> Reply:
    """No backend hears."""
    raise Refusal("The current model does not support audio input.", "not_supported_error")


async def lora_adapters(_call: Call) -> Reply:
    """None are loaded."""
    return json_reply([])


async def lora_adapters_set(call: Call) -> Reply:
    """Scales of adapters that don't exist change nothing, as with the server."""
    if not isinstance(call.json(), list):
        raise Refusal("Request body must be an array")
    return json_reply({"success": True})


async def control(call: Call) -> Reply:
    """POST /v1/chat/completions/control, which ends a running answer's thought. None here can be reached so."""
    body = read_keys(call)
    completion_id = body.get("id")
    if not isinstance(completion_id, str) or not completion_id:
        raise Refusal("missing completion id")
    if body.get("action") != "reasoning_end":
        raise Refusal("unknown control action")
    return json_reply({"success": False, "message": "no active completion for this id"})


async def disabled(_call: Call) -> Reply:
    """/tools and /cors-proxy, which are off by default there."""
    return Reply(
        to_json({"error": {"message": "this feature is disabled", "type": "feature_disabled"}}), 403, JSON_UTF8
    )


def _queried(call: Call) -> Served:
    """`?model=`, as llama.vscode asks a router. Raises NotReady."""
    served = call.models.resolve(call.query.get("model"))
    check_loaded(served)
    return served
