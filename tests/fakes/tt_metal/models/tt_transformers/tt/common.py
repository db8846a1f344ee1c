"""A model with its paged cache, in numpy. Facts from models/tt_transformers/tt/common.py and model_config.py."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ttnn

from backends.engine.numpy_runner import NumpyRunner

TILE = 32
"""Rows of a tile. Tests of the engine, which like small blocks, make it smaller."""

SUPPORTED_BATCHES = (1, 2, 4, 8, 16, 32)


class PagedAttentionConfig:
    def __init__(self, block_size: int = 32, max_num_blocks: int = 1024) -> None:
        self.block_size = block_size
        self.max_num_blocks = max_num_blocks


def load_network(folder: Path, max_batch_size: int) -> Any:
    """What computes: anything with a runner's allocate_kv, prefill and decode. Tests put others in its place."""
    return NumpyRunner.load(folder, max_batch_size)


class ModelArgs:
    def __init__(self, mesh_device: ttnn.MeshDevice, max_batch_size: int, max_seq_len: int) -> None:
        if "HF_MODEL" not in os.environ:
            raise ValueError("Please set HF_MODEL to a HuggingFace name e.g. meta-llama/Llama-3.1-8B-Instruct")
        if max_batch_size not in SUPPORTED_BATCHES:
            raise ValueError(f"Batch size {max_batch_size} not supported")
        self.mesh_device = mesh_device
        self.max_batch_size = max_batch_size
        self.max_seq_len = max_seq_len
        self.folder = Path(os.environ["HF_MODEL"])
        self.model_name = self.folder.name
        self.n_layers = 2
        self.vocab_size = 0
        self.max_prefill_chunk_size = 4096
        self.trace_prefill_supported_seq_lens = [128]

    def can_enable_trace(self, prefill_seq_len: int, num_cached_tokens: int = 0) -> bool:
        lengths = self.trace_prefill_supported_seq_lens
        return prefill_seq_len in lengths and prefill_seq_len <= self.max_seq_len and num_cached_tokens == 0


class Transformer:
    """network: computes. cache: what identifies its keys and values, [layer][K or V]."""

    def __init__(self, args: ModelArgs, paged: PagedAttentionConfig) -> None:
        self.args = args
        self.mesh_device = args.mesh_device
        self.network = load_network(args.folder, args.max_batch_size)
        self.network.allocate_kv(paged.max_num_blocks, paged.block_size)
        args.vocab_size = self.network.vocab_size
        self.paged = paged
        shape = (paged.max_num_blocks, 8, paged.block_size, 64)
        self.cache = [[SimpleNamespace(shape=shape) for _ in "KV"] for _ in range(args.n_layers)]

    def process_output_prefill(self, tt_out: Any, last_token_idx: int) -> Any:
        """In 2025 this waited; since then it is called when all is there."""
        ttnn.wait_until(self.mesh_device.chip.busy_until)
        return tt_out


def create_tt_model(
    mesh_device: ttnn.MeshDevice,
    instruct: bool,
    max_batch_size: int,
    optimizations: Callable[[ModelArgs], Any],
    max_seq_len: int,
    paged_attention_config: PagedAttentionConfig | None = None,
    dtype: str = ttnn.bfloat8_b,
    state_dict: dict[str, Any] | None = None,
    num_layers: int | None = None,
) -> tuple[ModelArgs, Transformer, list[Any], dict[str, Any]]:
    if not mesh_device.is_open:
        raise RuntimeError("TT_FATAL: the mesh is closed")
    if os.environ.get("FAKE_TT_FAULT") == "dram":
        raise RuntimeError(
            "TT_FATAL @ bank_manager.cpp:141: tt::exception\ninfo:\nOut of Memory: Not enough space to allocate "
            "1073741824 B DRAM buffer across 12 banks"
        )
    args = ModelArgs(mesh_device, max_batch_size, max_seq_len)
    if optimizations(args).num_decoders != args.n_layers:
        raise ValueError("optimizations are for another number of layers")
    if paged_attention_config is None:
        raise NotImplementedError("this fake has paged caches only")
    if paged_attention_config.block_size % TILE:
        raise RuntimeError(f"TT_FATAL: blocks must be whole tiles of {TILE} tokens")
    model = Transformer(args, paged_attention_config)
    return args, model, model.cache, state_dict or {"weights": "loaded"}


def get_padded_prefill_len(seq_len: int) -> int:
    if seq_len <= 128:
        return 128
    return 1024 if seq_len <= 1024 else 2 ** (seq_len - 1).bit_length()


def num_blocks_in_seq(seq_len: int, block_size: int) -> int:
    return math.ceil(seq_len / block_size)
