"""Folders of Llamas with random weights, of any shape."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from backends.engine.runner import Floats


def config_of(*, intermediate_size: int = 96, window: int = 512, **others: Any) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": 80,
        "hidden_size": 96,
        "intermediate_size": intermediate_size,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "hidden_act": "silu",
        "max_position_embeddings": window,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": True,
        **others,
    }


def random_weights(config: dict[str, Any]) -> dict[str, Floats]:
    """Of a Llama without biases and with tied embeddings."""
    rng = np.random.default_rng(0)

    def matrix(*shape: int) -> Floats:
        tensor = rng.standard_normal(shape, np.float32)
        tensor *= 2 / shape[-1] ** 0.5
        return tensor

    def norm(size: int) -> Floats:
        tensor = rng.standard_normal(size, np.float32)
        tensor /= 4
        tensor += 1
        return tensor

    hidden, inner, head_dim = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    queries, keys = config["num_attention_heads"] * head_dim, config["num_key_value_heads"] * head_dim
    weights = {"model.embed_tokens.weight": matrix(config["vocab_size"], hidden), "model.norm.weight": norm(hidden)}
    for layer in range(config["num_hidden_layers"]):
        parts = {
            "input_layernorm": norm(hidden),
            "post_attention_layernorm": norm(hidden),
            "self_attn.q_proj": matrix(queries, hidden),
            "self_attn.k_proj": matrix(keys, hidden),
            "self_attn.v_proj": matrix(keys, hidden),
            "self_attn.o_proj": matrix(hidden, queries),
            "mlp.gate_proj": matrix(inner, hidden),
            "mlp.up_proj": matrix(inner, hidden),
            "mlp.down_proj": matrix(hidden, inner),
        }
        weights |= {f"model.layers.{layer}.{name}.weight": tensor for name, tensor in parts.items()}
    return weights


def write_random_model(folder: Path, **differences: Any) -> Path:
    config = config_of(**differences)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(random_weights(config), folder / "model.safetensors")
    return folder
