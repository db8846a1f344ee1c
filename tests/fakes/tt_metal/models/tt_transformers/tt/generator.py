"""The Generator, in the versions that there are: the same work behind different signatures, checked argument by
argument. Facts from tt-metal's models/tt_transformers/tt/generator.py and model.py at each date.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import ttnn

from backends.engine.runner import Floats, Ints, PrefillRow
from models.tt_transformers.tt.common import ModelArgs, Transformer, get_padded_prefill_len, num_blocks_in_seq
from models.tt_transformers.tt.parameters import SamplingParams

NOBODY = -1
"""The slot of what is written for no sequence."""


@dataclass
class Output:
    """On the device until ready_at (monotonic), then it can be copied without waiting."""

    values: np.ndarray[Any, Any]
    ready_at: float

    def cpu(self, blocking: bool = True) -> HostTensor:
        if blocking:
            ttnn.wait_until(self.ready_at)
        return HostTensor(self.values, self.ready_at)


@dataclass
class HostTensor:
    values: np.ndarray[Any, Any]
    ready_at: float

    def read(self) -> np.ndarray[Any, Any]:
        if time.monotonic() < self.ready_at:
            return np.full_like(self.values, 77)  # what happened to be there
        return self.values


class _Base:
    """captures: the traces, in the order in which they were captured. prefills: padded length and start of each row."""

    def __init__(
        self, model: list[Transformer], model_args: list[ModelArgs], mesh_device: ttnn.MeshDevice, tokenizer: Any = None
    ) -> None:
        self.model = model
        self.model_args = model_args
        self.mesh_device = mesh_device
        self.data_parallel = len(model)
        self.captures: list[str] = []
        self.prefills: list[tuple[int, int]] = []
        self.decodes: list[str] = []
        self._table_widths: set[int] = set()
        self.prev_page_table: Ints | None = None
        self._device_tokens: Ints = np.zeros(0, np.int32)
        self._device_positions: Ints = np.zeros(0, np.int32)
        self._last_was_decode = False

    # prefill

    def _prefill(
        self, tokens: Any, page_table: Any, kv_cache: Any, prompt_lens: Any, empty_slots: Any, enable_trace: bool,
        start_pos: Any,
    ) -> torch.Tensor:  # fmt: skip
        self._last_was_decode = False
        assert isinstance(page_table, torch.Tensor), "page_table mush be torch.Tensor"
        self._check_cache(kv_cache)
        _check_integers(tokens, "tokens", 2)
        _check_integers(page_table, "page_table", 2)
        num_rows, _ = tokens.shape
        starts = [0] * num_rows if start_pos is None else [int(start) for start in start_pos]
        if not num_rows == len(prompt_lens) == len(empty_slots) == len(starts) == page_table.shape[0]:
            raise IndexError("list index out of range")
        if len(set(empty_slots)) != num_rows:
            raise ValueError("two prompts in one slot")
        logits = [
            self._prefill_user(tokens.numpy()[i], page_table.numpy()[i], prompt_lens[i], slot, enable_trace, starts[i])
            for i, slot in enumerate(empty_slots)
        ]
        self._wait(logits, prompt_lens, empty_slots)
        return torch.Tensor(np.stack(logits)[:, None].astype(np.float32))

    def _wait(self, logits: list[Floats], prompt_lens: Any, empty_slots: Any) -> None:
        ttnn.synchronize_device(self.mesh_device)

    def _prefill_user(self, tokens: Ints, table: Ints, end: int, slot: int, enable_trace: bool, start: int) -> Floats:
        model = self.model[slot // self.model_args[0].max_batch_size]  # IndexError, as there
        args, block_size = model.args, model.paged.block_size
        assert end <= args.max_seq_len, f"Sequence length {end} exceeds max seq len {args.max_seq_len}"
        if start % block_size or not 0 <= start < end:
            raise ValueError(f"chunk_start_idx {start} must be a multiple of the block size {block_size}")
        if end > len(tokens):
            raise RuntimeError(f"Sizes of tensors must match: {end} tokens of {len(tokens)}")
        padded = get_padded_prefill_len(end - start)
        num_blocks = num_blocks_in_seq(end, block_size)
        if len(table) < num_blocks:
            raise RuntimeError("TT_FATAL: the page table must cover the sequence")
        _check_blocks(table[:num_blocks], model)
        is_traced = enable_trace and args.can_enable_trace(padded, start)
        if is_traced:
            self._capture(f"prefill {padded}")
        self.prefills.append((padded, start))
        model.mesh_device.chip.work(model.mesh_device.chip.prefill_s * padded / 128)
        row = PrefillRow(tokens[start:end], start, table[:num_blocks], slot)
        logits = model.network.prefill([row])[0][-1]
        self._write_padding(model, table, num_blocks, num_blocks_in_seq(start + padded, block_size), is_traced, start)
        return logits

    def _write_padding(
        self, model: Transformer, table: Ints, first: int, last: int, is_traced: bool, start: int
    ) -> None:
        """A trace writes its whole length through the table; a resumed prefill through a table filled up with zeros.
        Any other stops at the end of its own."""
        if is_traced:
            blocks = table[first:last]
        elif start:
            blocks = np.zeros(1, np.int32)
        else:
            return
        for block in blocks[blocks >= 0]:
            _check_blocks(np.array([block]), model)
            junk = np.zeros(model.paged.block_size, np.int32)
            model.network.prefill([PrefillRow(junk, 0, np.array([block], np.int32), NOBODY)])

    # decode

    def _decode(
        self, tokens: Any, start_pos: Any, page_table: Any, kv_cache: Any, enable_trace: bool, read_from_device: bool,
        sampling_params: SamplingParams | None, must_copy: bool,
    ) -> Any:  # fmt: skip
        """must_copy: the caller says that the device's tokens and positions are not to be used."""
        if os.environ.get("FAKE_TT_FAULT") == "hang" and len(self.decodes) > 8:
            time.sleep(10_000)
        self._check_cache(kv_cache)
        batch_size = tokens.shape[0]
        each = self.model_args[0].max_batch_size
        assert start_pos.shape[0] == batch_size, "Batch size mismatch"
        assert batch_size == each * self.data_parallel, (
            f"Batch size {batch_size // self.data_parallel} must be equal to max_batch_size {each}"
        )
        _check_integers(tokens, "tokens", len(tokens.shape))
        _check_integers(start_pos, "current_pos", 1)
        _check_integers(page_table, "page_table", 2)
        if page_table.shape[0] != batch_size:
            raise RuntimeError("TT_FATAL: the page table must have a row for each of the batch")
        is_sampled = sampling_params is not None
        table = page_table.numpy().copy()
        if enable_trace:
            self._capture("decode that samples" if is_sampled else "decode")
            self._table_widths.add(table.shape[1])
            if len(self._table_widths) > 1:
                raise RuntimeError("TT_FATAL: host and device tensors must have the same shape")
        new_tokens, positions = tokens.numpy().reshape(-1).copy(), start_pos.numpy().copy()
        if self._keeps_inputs(table, enable_trace and is_sampled, must_copy):
            new_tokens, positions = self._device_tokens, self._device_positions
        self.decodes.append("tokens" if is_sampled else "logits")
        ready_at = self.mesh_device.chip.work(self.mesh_device.chip.decode_s)  # what follows is the device's
        logits = self._run(new_tokens, positions, table)
        values = self._sample(logits, sampling_params) if sampling_params is not None else logits
        if is_sampled:
            self._device_tokens = values.astype(np.int32)
            self._device_positions = np.where(positions >= 0, positions + 1, positions)
        self._last_was_decode = True
        output = Output(values, ready_at)
        return self._finish(output, is_sampled) if read_from_device else output

    def _keeps_inputs(self, table: Ints, stays_on_device: bool, must_copy: bool) -> bool:
        """A traced decode that samples goes on with the device's own tokens, unless its inputs are copied anew."""
        is_same = self.prev_page_table is not None and np.array_equal(table, self.prev_page_table)
        self.prev_page_table = table
        return stays_on_device and self._last_was_decode and is_same and not must_copy and len(self._device_tokens) > 0

    def _run(self, tokens: Ints, positions: Ints, table: Ints) -> Floats:
        logits = np.zeros((len(tokens), self.model_args[0].vocab_size), np.float32)
        for replica, model in enumerate(self.model):
            size = model.args.max_batch_size
            rows = [row for row in range(replica * size, (replica + 1) * size) if positions[row] >= 0]
            for row in rows:
                num_blocks = positions[row] // model.paged.block_size + 1
                if num_blocks > table.shape[1]:
                    raise RuntimeError("TT_FATAL: the page table must cover the position")
                _check_blocks(table[row, :num_blocks], model)
            if rows:
                tables = [table[row, : positions[row] // model.paged.block_size + 1] for row in rows]
                logits[rows] = model.network.decode(tokens[rows], positions[rows], tables)
        return logits

    def _sample(self, logits: Floats, params: SamplingParams) -> np.ndarray[Any, Any]:
        """temperature, then at most 32 candidates, then top_p."""
        lists = (params.temperature, params.top_k, params.top_p)
        if not all(isinstance(each, list) and len(each) == len(logits) for each in lists):
            raise TypeError("sampling parameters must be lists, one value for each row")
        chosen = logits.argmax(axis=1).astype(np.uint32)
        for row, (temperature, top_k, top_p) in enumerate(zip(*lists, strict=True)):
            if temperature == 0 or top_k == 1:
                continue
            best = np.argsort(-logits[row], kind="stable")[: min(int(top_k) if top_k > 0 else 32, 32)]
            weights = np.exp((logits[row, best] - logits[row, best[0]]) / temperature)
            weights /= weights.sum()
            weights[np.cumsum(weights) - weights >= top_p] = 0.0
            chosen[row] = np.random.default_rng().choice(best, p=weights / weights.sum())
        return chosen

    def _finish(self, output: Output, is_sampled: bool) -> Any:
        return self._to_torch(output.cpu(), is_sampled)

    def _to_torch(self, host: HostTensor, is_sampled: bool) -> tuple[torch.Tensor, torch.Tensor]:
        values = host.read()
        shaped = values if is_sampled else values[:, None]
        return torch.Tensor(shaped), torch.Tensor(np.ones(shaped.shape, np.float32))

    # both

    def _check_cache(self, kv_cache: Any) -> None:
        if not isinstance(kv_cache, list) or len(kv_cache) != self.data_parallel:
            raise TypeError("kv_cache must be a list with one entry for each copy of the model")
        if any(given is not model.cache for given, model in zip(kv_cache, self.model, strict=True)):
            raise ValueError("kv_cache isn't the one that the model was created with")

    def _capture(self, name: str) -> None:
        if not self.mesh_device.trace_region_size or os.environ.get("FAKE_TT_FAULT") == "trace":
            raise RuntimeError(
                "TT_FATAL: Creating trace buffers of size 9 MB, but only 0 MB is allocated for the trace region"
            )
        if name not in self.captures:
            self.captures.append(name)


class _Reads(_Base):
    """As since 2026: a decode's output is read in two parts, and answers with a pair."""

    def read_decode_output(self, tt_out: Output, async_read: bool = False) -> Any:
        if not async_read:
            return tt_out.cpu()
        if tt_out.values.dtype == np.float32:
            raise AttributeError("'NoneType' object has no attribute 'cpu'")  # the log-probabilities that it hasn't
        return tt_out.cpu(blocking=False), [tt_out.ready_at]

    def process_decode_output_host(self, tt_out: HostTensor, is_tokens: bool = False) -> Any:
        assert is_tokens == (tt_out.values.dtype == np.uint32), "tokens and logits have different shapes"
        return self._to_torch(tt_out, is_tokens)


class _July2025(_Base):
    def prefill_forward_text(self, tokens, page_table=None, kv_cache=None, prompt_lens=None, empty_slots=None):
        return self._prefill(tokens, page_table, kv_cache, prompt_lens, empty_slots, False, None)

    def _wait(self, logits, prompt_lens, empty_slots):
        for row, length, slot in zip(logits, prompt_lens, empty_slots, strict=True):
            model = self.model[slot // self.model_args[0].max_batch_size]
            model.process_output_prefill(row, last_token_idx=(length - 1) % 32)

    def decode_forward_text(
        self, tokens, start_pos, page_table=None, kv_cache=None, enable_trace=True, read_from_device=True,
        sampling_params=None,
    ):  # fmt: skip
        assert sampling_params is None or sampling_params.temperature == 0, (
            "Currently only supporting greedy decoding (temperature=0) on device"
        )
        return self._decode(
            tokens, start_pos, page_table, kv_cache, enable_trace, read_from_device, sampling_params, False
        )

    def decode_forward(self, start_pos, tokens, prefill_cross_attention_masks):
        raise NotImplementedError("that of the vision models")

    def read_decode_output(self, tt_out, unpadded_batch, is_tokens=False):
        values, _ = self._to_torch(tt_out.cpu(), is_tokens)
        return torch.Tensor(values.numpy()[:unpadded_batch])


class _Since2026(_Reads):
    def prefill_forward_text(
        self, tokens, page_table=None, kv_cache=None, prompt_lens=None, empty_slots=None, enable_trace=True,
        model_id_warmup=None, sampling_params=None, start_pos=None, return_hidden_states=False, warmup_prefill=True,
        **kwargs,
    ):  # fmt: skip
        if warmup_prefill:
            raise NotImplementedError("this fake has no warm-up of its own: whoever calls it warms up")
        assert not kwargs
        assert sampling_params is None, "this fake samples in decodes only"
        return self._prefill(tokens, page_table, kv_cache, prompt_lens, empty_slots, enable_trace, start_pos)


class _February4(_Since2026):
    def decode_forward_text(
        self, tokens, start_pos, page_table=None, kv_cache=None, enable_trace=True, read_from_device=True,
        sampling_params=None, reset_batch=False, prompt_tokens=None, output_tokens=None,
    ):  # fmt: skip
        return self._decode(
            tokens, start_pos, page_table, kv_cache, enable_trace, read_from_device, sampling_params, False
        )

    def decode_forward(self, start_pos, tokens, prefill_cross_attention_masks):
        raise NotImplementedError("that of the vision models")


class _February26(_Since2026):
    def decode_forward(
        self, tokens, start_pos, page_table=None, kv_cache=None, enable_trace=True, read_from_device=True,
        sampling_params=None, reset_batch=False, prompt_tokens=None, output_tokens=None,
    ):  # fmt: skip
        return self._decode(
            tokens, start_pos, page_table, kv_cache, enable_trace, read_from_device, sampling_params, False
        )


class _Contract1(_Since2026):
    decode_input_update_contract = 1

    def decode_forward(
        self, tokens, start_pos, page_table=None, kv_cache=None, enable_trace=True, read_from_device=True,
        sampling_params=None, prompt_tokens=None, output_tokens=None, slot_remap=None, *, reload_inputs,
        reload_page_table, reload_sampling_params, reset_sampling_state,
    ):  # fmt: skip
        if reload_inputs and reload_page_table:
            raise ValueError("reload_page_table is the page-table-only command: reload_inputs includes it")
        if reset_sampling_state and not reload_inputs:
            raise ValueError("reset_sampling_state requires reload_inputs")
        if sampling_params is None and (reload_sampling_params or reset_sampling_state):
            raise ValueError("a decode that doesn't sample holds no device sampling state")
        return self._decode(
            tokens, start_pos, page_table, kv_cache, enable_trace, read_from_device, sampling_params, reload_inputs
        )


class _Tomorrow(_Since2026):
    def decode_forward(self, batch):
        raise NotImplementedError


_VERSIONS = {
    "2025-07": _July2025,
    "2026-02-04": _February4,
    "2026-02-26": _February26,
    "contract-1": _Contract1,
    "tomorrow": _Tomorrow,
}
Generator = _VERSIONS[os.environ.get("FAKE_TT_METAL", "2026-02-26")]


def create_submeshes(mesh_device: ttnn.MeshDevice, data_parallel: int) -> Sequence[ttnn.MeshDevice]:
    if data_parallel == 1:
        return [mesh_device]
    num_devices = mesh_device.get_num_devices()
    assert num_devices % data_parallel == 0, f"Unsupported device split: {num_devices} devices, {data_parallel} groups"
    return mesh_device.create_submeshes(ttnn.MeshShape(1, num_devices // data_parallel))


def _check_integers(tensor: Any, name: str, num_dimensions: int) -> None:
    assert isinstance(tensor, torch.Tensor), f"{name} must be torch.Tensor"
    if tensor.dtype not in (torch.int32, torch.int64):
        raise RuntimeError(f"TT_FATAL: {name} must be integers, not {tensor.dtype}")
    if len(tensor.shape) != num_dimensions:
        raise ValueError(f"{name} must have {num_dimensions} dimensions, not shape {tensor.shape}")


def _check_blocks(blocks: Ints, model: Transformer) -> None:
    if len(blocks) and not (blocks.min() >= 0 and blocks.max() < model.paged.max_num_blocks):
        raise RuntimeError(f"TT_FATAL: a page is outside of the cache: {SimpleNamespace(blocks=blocks.tolist())}")
