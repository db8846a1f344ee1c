"""The shape of a Llama-like model, read from a Hugging Face folder's config.json.

Owns the difference between the spellings of several years, and between Llama, Mistral, Qwen2 and Qwen3, which share
one architecture but for a few details; and says in one line what it won't run. It reads no weights.

Source: transformers, `configuration_llama.py` and its siblings, `modeling_rope_utils.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt

from backends.engine.folder_json import read_json
from backends.engine.rope import LinearScaling, Llama3Scaling, RopeScaling, YarnScaling, yarn_attention_factor
from backends.errors import BackendFailed

_ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}
_DEFAULT_THETA = 10_000.0
_QWEN3_HEAD_DIM = 128
_MISTRAL_WINDOW = 4096


@dataclass(frozen=True, slots=True)
class LlamaConfig:
    """window: the most tokens of a sequence, with rope scaling; trained_window: without.

    attention_windows: for each layer, how many tokens a token attends to, itself included; None: to all before it.
    """

    family: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    norm_eps: float
    rope_theta: float
    rope_scaling: RopeScaling | None
    attention_windows: tuple[int | None, ...]
    has_qk_norm: bool
    has_tied_embeddings: bool
    window: int
    trained_window: int


def read_config(folder: Path) -> LlamaConfig:
    """Raises BackendFailed, saying in one line what is missing or can't be run."""
    path = folder / "config.json"
    written = read_json(path, _ConfigJson)
    try:
        return _config(written)
    except _Refused as refused:
        raise BackendFailed(f"{path}: {refused}") from None


class _Refused(Exception):
    """Well-formed, but not for this runner."""


class _RopeJson(BaseModel):
    """`rope_parameters`, or the older `rope_scaling`, whose oldest form has `type`."""

    model_config = ConfigDict(extra="allow")

    rope_type: str | None = None
    type: str | None = None
    rope_theta: PositiveFloat | None = None
    factor: PositiveFloat | None = None
    original_max_position_embeddings: PositiveInt | None = None
    low_freq_factor: PositiveFloat | None = None
    high_freq_factor: PositiveFloat | None = None
    attention_factor: PositiveFloat | None = None
    beta_fast: PositiveFloat | None = None
    beta_slow: PositiveFloat | None = None
    mscale: float | None = None
    mscale_all_dim: float | None = None
    truncate: bool = True
    partial_rotary_factor: float = 1.0


class _ConfigJson(BaseModel):
    model_config = ConfigDict(protected_namespaces=())

    model_type: str
    architectures: list[str] | None = None
    vocab_size: PositiveInt
    hidden_size: PositiveInt
    intermediate_size: PositiveInt
    num_hidden_layers: PositiveInt
    num_attention_heads: PositiveInt
    num_key_value_heads: PositiveInt | None = None
    head_dim: PositiveInt | None = None
    hidden_act: str = "silu"
    max_position_embeddings: PositiveInt
    original_max_position_embeddings: PositiveInt | None = None
    rms_norm_eps: PositiveFloat = 1e-6
    rope_theta: PositiveFloat | None = None
    rope_scaling: _RopeJson | None = None
    rope_parameters: _RopeJson | None = None
    partial_rotary_factor: float | None = None
    tie_word_embeddings: bool = False
    sliding_window: PositiveInt | None = None
    use_sliding_window: bool = False
    max_window_layers: int = 28
    layer_types: list[Literal["full_attention", "sliding_attention"]] | None = None
    quantization_config: dict[str, Any] | None = None


def _config(written: _ConfigJson) -> LlamaConfig:
    _refuse_foreign(written)
    num_kv_heads = written.num_key_value_heads or written.num_attention_heads
    if written.num_attention_heads % num_kv_heads:
        raise _Refused(f"{written.num_attention_heads} attention heads can't share {num_kv_heads} key-value heads")
    head_dim = _head_dim(written)
    rope = written.rope_parameters or written.rope_scaling or _RopeJson()
    scaling = _rope_scaling(rope, written)
    return LlamaConfig(
        family=written.model_type,
        vocab_size=written.vocab_size,
        hidden_size=written.hidden_size,
        intermediate_size=written.intermediate_size,
        num_layers=written.num_hidden_layers,
        num_heads=written.num_attention_heads,
        num_kv_heads=num_kv_heads,
        head_dim=head_dim,
        norm_eps=written.rms_norm_eps,
        rope_theta=rope.rope_theta or written.rope_theta or _DEFAULT_THETA,
        rope_scaling=scaling,
        attention_windows=_attention_windows(written),
        has_qk_norm=written.model_type == "qwen3",
        has_tied_embeddings=written.tie_word_embeddings,
        window=_window(written.max_position_embeddings, scaling),
        trained_window=written.max_position_embeddings,
    )


def _refuse_foreign(written: _ConfigJson) -> None:
    architectures = written.architectures or [_ARCHITECTURES.get(written.model_type, written.model_type)]
    if _ARCHITECTURES.get(written.model_type) not in architectures:
        raise _Refused(f"{architectures[0]} can't be run; {', '.join(_ARCHITECTURES.values())} can")
    if written.quantization_config is not None:
        method = written.quantization_config.get("quant_method", "unnamed")
        raise _Refused(f"weights quantized by the method '{method}' can't be run; bf16, fp16 and fp32 can")
    if written.hidden_act != "silu":
        raise _Refused(f"the activation '{written.hidden_act}' can't be run; silu can")


def _head_dim(written: _ConfigJson) -> int:
    derived = _QWEN3_HEAD_DIM if written.model_type == "qwen3" else written.hidden_size // written.num_attention_heads
    head_dim = written.head_dim or derived
    if head_dim % 2:
        raise _Refused(f"heads of {head_dim} dimensions can't be rotated in pairs")
    return head_dim


def _rope_scaling(rope: _RopeJson, written: _ConfigJson) -> RopeScaling | None:
    if any(isinstance(value, dict) for value in (rope.model_extra or {}).values()):
        raise _Refused("rope parameters that differ between layers can't be run")
    if rope.partial_rotary_factor != 1.0 or written.partial_rotary_factor not in {None, 1.0}:
        raise _Refused("rotating only a part of each head (partial_rotary_factor) can't be run")
    kind = rope.rope_type or rope.type or "default"
    original_window = (
        written.original_max_position_embeddings
        or rope.original_max_position_embeddings
        or written.max_position_embeddings
    )
    match kind:
        case "default":
            return None
        case "linear":
            return LinearScaling(_needed(rope.factor, "factor"))
        case "llama3":
            low = _needed(rope.low_freq_factor, "low_freq_factor")
            high = _needed(rope.high_freq_factor, "high_freq_factor")
            return Llama3Scaling(_needed(rope.factor, "factor"), original_window, low, high)
        case "yarn":
            factor = rope.factor or written.max_position_embeddings / original_window
            return YarnScaling(
                factor=factor,
                original_window=original_window,
                attention_factor=rope.attention_factor
                or yarn_attention_factor(factor, rope.mscale, rope.mscale_all_dim),
                beta_fast=rope.beta_fast or 32.0,
                beta_slow=rope.beta_slow or 1.0,
                truncate=rope.truncate,
            )
        case _:
            raise _Refused(f"rope scaling of the type '{kind}' can't be run; linear, llama3 and yarn can")


def _needed(value: float | None, name: str) -> float:
    if value is None:
        raise _Refused(f"rope scaling lacks '{name}'")
    return value


def _window(max_positions: int, scaling: RopeScaling | None) -> int:
    """With linear and YaRN scaling, max_position_embeddings may be the model's first window or the widened one."""
    match scaling:
        case LinearScaling():
            return int(max_positions * scaling.factor)
        case YarnScaling():
            return max(max_positions, int(scaling.original_window * scaling.factor))
        case _:
            return max_positions


def _attention_windows(written: _ConfigJson) -> tuple[int | None, ...]:
    """Mistral: one window for all layers; Qwen: only if switched on, and then only for the layers that say so, or for
    those from max_window_layers on. Llama: none."""
    num_layers = written.num_hidden_layers
    is_qwen = written.model_type in {"qwen2", "qwen3"}
    if written.model_type == "mistral":
        window = written.sliding_window
        if "sliding_window" not in written.model_fields_set:
            window = _MISTRAL_WINDOW
        return (window,) * num_layers
    if not (is_qwen and written.use_sliding_window and written.sliding_window):
        return (None,) * num_layers
    kinds = written.layer_types or [
        "sliding_attention" if layer >= written.max_window_layers else "full_attention" for layer in range(num_layers)
    ]
    return tuple(written.sliding_window if kind == "sliding_attention" else None for kind in kinds)
