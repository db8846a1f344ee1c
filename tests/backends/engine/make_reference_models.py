"""Makes reference_models/: tiny models with random weights, and the logits that transformers gives for them.

    python tests/backends/engine/make_reference_models.py

Needs torch, transformers and safetensors, in an environment of their own; made with torch 2.13.0 and transformers
5.23.0. The tests that read what it makes need none of them but safetensors.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

FOLDER = Path(__file__).parent / "reference_models"
NUM_TOKENS = 40
SHAPE = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
}
MODELS: dict[str, tuple[torch.dtype, dict[str, Any]]] = {
    "llama_tied": (
        torch.bfloat16,
        {
            "model_type": "llama", "tie_word_embeddings": True,
            "rope_parameters": {"rope_theta": 500.0, "rope_type": "default"},
        },
    ),
    "llama_biases_llama3_rope": (
        torch.float32,
        {
            "model_type": "llama", "attention_bias": True, "mlp_bias": True, "hidden_size": 24, "head_dim": 8,
            "num_attention_heads": 6, "rope_theta": 200.0,
            "rope_scaling": {
                "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                "original_max_position_embeddings": 16,
            },
        },
    ),
    "llama_sharded_linear_rope": (
        torch.float16,
        {"model_type": "llama", "num_key_value_heads": 4, "rope_scaling": {"type": "linear", "factor": 4.0}},
    ),
    "mistral_sliding_window": (
        torch.bfloat16,
        {"model_type": "mistral", "sliding_window": 7, "head_dim": 12, "num_attention_heads": 6, "rope_theta": 1000.0},
    ),
    "qwen2_yarn_mixed_windows": (
        torch.bfloat16,
        {
            "model_type": "qwen2", "tie_word_embeddings": True, "use_sliding_window": True, "sliding_window": 9,
            "max_window_layers": 1, "rope_theta": 100.0,
            "rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16},
        },
    ),
    "qwen3_yarn": (
        torch.bfloat16,
        {
            "model_type": "qwen3", "head_dim": 16,
            "rope_parameters": {
                "rope_type": "yarn", "rope_theta": 300.0, "factor": 8.0, "original_max_position_embeddings": 8,
                "attention_factor": 1.3, "beta_fast": 4.0, "beta_slow": 1.0, "truncate": False,
            },
        },
    ),
}  # fmt: skip
ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}


def random_weights(config: Any, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Large enough for attention to be sharp and for logits to differ; norms and biases that matter."""
    weights = {}
    for name, tensor in AutoModelForCausalLM.from_config(config).state_dict().items():
        noise = torch.randn(tensor.shape)
        if "norm" in name:
            noise = 1.0 + 0.3 * noise
        elif tensor.ndim == 2:
            noise *= 2.0 / tensor.shape[1] ** 0.5
        weights[name] = noise.to(dtype)
    if config.tie_word_embeddings:
        weights.pop("lm_head.weight", None)
    return weights


def save_weights(weights: dict[str, torch.Tensor], folder: Path, is_sharded: bool) -> None:
    if not is_sharded:
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
        return
    names = sorted(weights)
    shards = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, its_names in shards.items():
        save_file({name: weights[name] for name in its_names}, folder / file, {"format": "pt"})
    index = {"metadata": {}, "weight_map": {name: file for file, its_names in shards.items() for name in its_names}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")


def make(name: str, dtype: torch.dtype, differences: dict[str, Any]) -> None:
    folder = FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    config = {**SHAPE, **differences, "architectures": [ARCHITECTURES[differences["model_type"]]]}
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    save_weights(random_weights(AutoConfig.from_pretrained(folder), dtype), folder, "sharded" in name)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    tokens = torch.randint(config["vocab_size"], (NUM_TOKENS,), dtype=torch.int32)
    with torch.no_grad():
        output = model(tokens[None].long(), output_hidden_states=True)
    reference = {"tokens": tokens, "logits": output.logits[0], "embedding": output.hidden_states[-1][0].mean(0)}
    save_file({key: value.contiguous() for key, value in reference.items()}, folder / "reference.safetensors")


def main() -> None:
    for seed, (name, (dtype, differences)) in enumerate(MODELS.items()):
        torch.manual_seed(seed)
        make(name, dtype, differences)


if __name__ == "__main__":
    main()
