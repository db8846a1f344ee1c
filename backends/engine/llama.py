"""The forward pass of a Llama-shaped model: tokens in, hidden states and logits out.

All in float32. Weights come prepared (see llama_loader.py), so that the pass has as few operations as it can: norm
weights, the scale of the queries and the signs that SwiGLU needs are in the matrices, and the two halves of each
rotated pair lie side by side, to be rotated as one complex number.

Every row depends on its own sequence alone, to the last bit, whatever else is in the batch and however its prompt was
cut (see projection.py and paged_attention.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from backends.engine.attention_plan import Indices, Queries
from backends.engine.buffer import Buffer
from backends.engine.llama_config import LlamaConfig
from backends.engine.paged_attention import KvBlocks, PagedAttention
from backends.engine.projection import Projection, Tiling, pad
from backends.engine.rope import Rope, Rotations
from backends.engine.runner import Floats

_Number = TypeVar("_Number", np.float32, np.intp)


@dataclass(frozen=True, slots=True)
class Layer:
    """qkv: to the heads of queries, keys and values. gate, up: both negated.

    qk_norm [query and key heads, head_dim]: where these are normed. window: as in LlamaConfig.
    """

    qkv: Projection
    output: Projection
    gate: Projection
    up: Projection
    down: Projection
    qk_norm: Floats | None
    window: int | None


@dataclass(frozen=True, slots=True)
class Batch:
    """New tokens of some sequences, one after the other, each [n] with its position and its place in the cache."""

    tokens: Indices
    positions: Indices
    blocks: Indices
    offsets: Indices
    sequences: Sequence[Queries]


class KvCache:
    """The keys and values of all layers, and how they are read."""

    def __init__(self, config: LlamaConfig, tiling: Tiling, num_blocks: int, block_size: int) -> None:
        shape = (config.num_heads, config.num_kv_heads, config.head_dim)
        self.block_size = block_size
        self.layers = [KvBlocks(num_blocks, block_size, *shape[1:]) for _ in range(config.num_layers)]
        self.attention = PagedAttention(*shape, block_size, tiling)


class Llama:
    """embedding [vocab_size, hidden_size]; head: from normed states to logits; final_norm [hidden_size].
    between_parts: called twice a layer; may raise."""

    def __init__(
        self,
        config: LlamaConfig,
        tiling: Tiling,
        embedding: Floats,
        layers: Sequence[Layer],
        final_norm: Floats,
        head: Projection,
    ) -> None:
        self.config = config
        self.tiling = tiling
        self.final_norm = final_norm
        self._embedding = embedding
        self._layers = layers
        self._head = head
        self._rope = Rope(config.head_dim, config.rope_theta, config.rope_scaling)
        self._normed = Buffer(config.hidden_size)
        self.between_parts: Callable[[], None] = lambda: None

    def hidden_states(self, batch: Batch, cache: KvCache) -> Floats:
        """Evaluates the tokens and writes their keys and values to the cache.

        → [n, hidden_size]: normed, but for the final norm's weight; valid until the next call.
        """
        num_tokens = len(batch.tokens)
        x: Floats = self._embedding.take(_padded(batch.tokens), 0)
        rotations = self._rope.rotations(_padded(batch.positions))[:, None]
        windows = {layer.window for layer in self._layers}
        plans = {window: cache.attention.plan(batch.sequences, window) for window in windows}
        with np.errstate(over="ignore"):  # exp(-gate) of a closed gate is ∞; what it divides is then 0, as it should be
            for layer, blocks in zip(self._layers, cache.layers, strict=True):
                self.between_parts()
                heads = self._heads(layer, x)
                self._position(layer, heads, rotations)
                self._remember(batch, heads, blocks)
                x += layer.output(cache.attention.attend(plans[layer.window], blocks, heads))
                self.between_parts()
                x += layer.down(self._gated(layer, x))
        return self._norm(x)[:num_tokens]

    def logits(self, hidden_states: Floats) -> Floats:
        """[n, hidden_size] → [n, vocab_size]; valid until the next call."""
        return self._head(_padded(hidden_states))[: len(hidden_states)]

    def _norm(self, x: Floats) -> Floats:
        """Every row to length 1: the weights that follow make up for it."""
        squares = np.einsum("ij,ij->i", x, x)
        squares += self.config.norm_eps * x.shape[1]
        normed = self._normed.rows(len(x))
        np.divide(x, np.sqrt(squares)[:, None], out=normed)
        return normed

    def _heads(self, layer: Layer, x: Floats) -> Floats:
        return layer.qkv(self._norm(x)).reshape(len(x), -1, self.config.head_dim)

    def _position(self, layer: Layer, heads: Floats, rotations: Rotations) -> None:
        rotated = heads[:, : self.config.num_heads + self.config.num_kv_heads]
        if layer.qk_norm is not None:
            squares = np.einsum("ijk,ijk->ij", rotated, rotated)
            squares += self.config.norm_eps * self.config.head_dim
            rotated /= np.sqrt(squares)[:, :, None]
            rotated *= layer.qk_norm
        pairs = rotated.view(np.complex64)
        pairs *= rotations

    def _remember(self, batch: Batch, heads: Floats, blocks: KvBlocks) -> None:
        first_key, first_value = self.config.num_heads, self.config.num_heads + self.config.num_kv_heads
        heads = heads[: len(batch.tokens)]
        blocks.write(batch.blocks, batch.offsets, heads[:, first_key:first_value], heads[:, first_value:])

    def _gated(self, layer: Layer, x: Floats) -> Floats:
        """SwiGLU, gate * up / (1 + exp(-gate)), of a gate and an up that come negated."""
        normed = self._norm(x)
        gate, up = layer.gate(normed), layer.up(normed)
        up *= gate
        np.exp(gate, out=gate)
        gate += 1.0
        up /= gate
        return up


def _padded(rows: npt.NDArray[_Number]) -> npt.NDArray[_Number]:
    """With zeros, to a number of rows that products may have."""
    padded = np.zeros((pad(len(rows)), *rows.shape[1:]), rows.dtype)
    padded[: len(rows)] = rows
    return padded
