"""A LoRA for the embedded model, and the same model with it merged into the weights: what both say must be equal."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from backends.engine import demo
from backends.engine.runner import Floats
from backends.engine.weights import Weights

RANK = 4
TARGETS = ("self_attn.q_proj", "self_attn.v_proj", "mlp.down_proj")


def write_lora(folder: Path, merged: Path) -> None:
    """folder: becomes the adapter as PEFT saves it. merged: becomes the whole model, its weights W + B·A."""
    config = json.loads((demo.FOLDER / "config.json").read_text())
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    values = config["num_key_value_heads"] * config["head_dim"]
    shapes = {TARGETS[0]: (hidden, hidden), TARGETS[1]: (values, hidden), TARGETS[2]: (hidden, inner)}
    rng = np.random.default_rng(1)
    adapter: dict[str, Floats] = {}
    tensors = _tensors()
    for layer in range(config["num_hidden_layers"]):
        for target in TARGETS:
            name = f"model.layers.{layer}.{target}"
            rows, columns = shapes[target]
            down = rng.standard_normal((RANK, columns), np.float32) / np.float32(columns**0.5)
            up = rng.standard_normal((rows, RANK), np.float32) / np.float32(RANK**0.5)
            adapter |= {f"base_model.model.{name}.lora_A.weight": down, f"base_model.model.{name}.lora_B.weight": up}
            tensors[f"{name}.weight"] = tensors[f"{name}.weight"] + up @ down
    folder.mkdir()
    save_file(adapter, folder / "adapter_model.safetensors")
    options = {"peft_type": "LORA", "r": RANK, "lora_alpha": RANK, "bias": "none", "task_type": "CAUSAL_LM",
               "target_modules": [target.rpartition(".")[2] for target in TARGETS]}  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(options))
    shutil.copytree(demo.FOLDER, merged, ignore=shutil.ignore_patterns("*.safetensors", "*.py", "__pycache__"))
    save_file(tensors, merged / "model.safetensors")


def _tensors() -> dict[str, Floats]:
    """The embedded model's, as float32."""
    weights = Weights(demo.FOLDER)
    with safe_open(demo.FOLDER / "model.safetensors", "np") as file:
        return {name: weights.take(name, *file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
