"""From a Hugging Face folder's weights to a Llama that is ready to run.

Fuses and folds once what the forward pass would otherwise do at every step. It knows the names that transformers gives
to tensors, and refuses a folder whose tensors don't fit its config.json.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from backends.engine.buffer import Buffer
from backends.engine.llama import Layer, Llama
from backends.engine.llama_config import LlamaConfig
from backends.engine.projection import Projection, choose_tiling, product_shapes
from backends.engine.rope import interleave
from backends.engine.runner import Floats
from backends.engine.weights import Weights

_IGNORED = ("rotary_emb.inv_freq",)  # older folders have it; it follows from config.json


def load_llama(config: LlamaConfig, weights: Weights) -> Llama:
    """Raises BackendFailed, in one line, when a tensor is missing, has another shape, or has no place in the model."""
    return _Loader(config, weights).load()


class _Loader:
    def __init__(self, config: LlamaConfig, weights: Weights) -> None:
        self._config = config
        self._weights = weights
        self._tiling = choose_tiling(_all_product_shapes(config))
        self._outs: dict[str, Buffer] = {}

    def load(self) -> Llama:
        config = self._config
        shape = (config.vocab_size, config.hidden_size)
        embedding = self._weights.take("model.embed_tokens.weight", *shape)
        layers = [self._layer(index) for index in range(config.num_layers)]
        final_norm = self._norm("model.norm.weight")
        is_tied = config.has_tied_embeddings
        head = embedding if is_tied else self._weights.take("lm_head.weight", *shape)
        self._weights.refuse_untaken((*_IGNORED, "lm_head.weight") if is_tied else _IGNORED)
        return Llama(config, self._tiling, embedding, layers, final_norm, self._projection("head", head * final_norm))

    def _layer(self, index: int) -> Layer:
        config = self._config
        prefix = f"model.layers.{index}."
        inputs, outputs = config.hidden_size, config.intermediate_size
        norm = self._norm(f"{prefix}post_attention_layernorm.weight")
        attended = config.num_heads * config.head_dim
        return Layer(
            qkv=self._qkv(prefix),
            output=self._plain(f"{prefix}self_attn.o_proj", inputs, attended),
            gate=self._plain(f"{prefix}mlp.gate_proj", outputs, inputs, -norm),
            up=self._plain(f"{prefix}mlp.up_proj", outputs, inputs, -norm),
            down=self._plain(f"{prefix}mlp.down_proj", inputs, outputs),
            qk_norm=self._qk_norm(prefix) if config.has_qk_norm else None,
            window=config.attention_windows[index],
        )

    def _norm(self, name: str) -> Floats:
        """Rows of length 1 come out as the norm makes them: with a mean square of 1."""
        size = self._config.hidden_size
        norm = self._weights.take(name, size)
        norm *= size**0.5
        return norm

    def _plain(self, name: str, num_outputs: int, num_inputs: int, factor: Floats | None = None) -> Projection:
        """factor [num_inputs], negative for both or neither of a product's factors: see SwiGLU in llama.py."""
        weight = self._weights.take(f"{name}.weight", num_outputs, num_inputs)
        bias = self._bias(name, num_outputs)
        if factor is not None:
            weight *= factor
            bias = None if bias is None else -bias
        return self._projection(name.rpartition(".")[2], weight, bias)

    def _qkv(self, prefix: str) -> Projection:
        """One matrix; queries scaled, unless they are normed, and queries and keys ready to be rotated."""
        config = self._config
        scale = 1.0 if config.has_qk_norm else config.head_dim**-0.5
        parts = (("q", config.num_heads, scale), ("k", config.num_kv_heads, 1.0), ("v", config.num_kv_heads, 1.0))
        weights, biases = [], []
        for letter, num_heads, factor in parts:
            name, num_outputs = f"{prefix}self_attn.{letter}_proj", num_heads * config.head_dim
            weight = self._weights.take(f"{name}.weight", num_outputs, config.hidden_size) * np.float32(factor)
            bias = self._bias(name, num_outputs)
            bias = np.zeros(num_outputs, np.float32) if bias is None else bias * np.float32(factor)
            weights.append(weight if letter == "v" else interleave(weight, config.head_dim))
            biases.append(bias if letter == "v" else interleave(bias, config.head_dim))
        norm = self._norm(f"{prefix}input_layernorm.weight")
        bias = np.concatenate(biases)
        return self._projection("qkv", np.concatenate(weights) * norm, bias if bias.any() else None)

    def _qk_norm(self, prefix: str) -> Floats:
        config = self._config
        q, k = (
            interleave(self._weights.take(f"{prefix}self_attn.{letter}_norm.weight", config.head_dim), config.head_dim)
            for letter in "qk"
        )
        k *= np.float32(config.head_dim**0.5)  # a mean square of 1; and q / sqrt(head_dim)
        return np.concatenate((np.tile(q, (config.num_heads, 1)), np.tile(k, (config.num_kv_heads, 1))))

    def _bias(self, name: str, num_outputs: int) -> Floats | None:
        return self._weights.take(f"{name}.bias", num_outputs) if f"{name}.bias" in self._weights else None

    def _projection(self, role: str, weight: Floats, bias: Floats | None = None) -> Projection:
        """weight: [num_outputs, num_inputs]. Layers take turns, so each role has one place for what comes out."""
        projection = Projection(weight.T, self._tiling, self._outs.get(role), bias)
        self._outs[role] = projection.out
        return projection


def _all_product_shapes(config: LlamaConfig) -> Iterator[tuple[int, int]]:
    """Of the projections, and of the attention at the usual block size: scores, and weighted values."""
    for num_inputs in (config.hidden_size, config.intermediate_size, config.num_heads * config.head_dim):
        yield from product_shapes(num_inputs)
    yield config.head_dim, 16
    yield 64, config.head_dim
