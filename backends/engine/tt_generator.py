"""tt-metal's Generator as the runner calls it: arrays in, arrays out, whichever version it is of.

ttnn waits for the device with the interpreter's lock held, in every call (nothing in ttnn/cpp/ttnn-nanobind lets go of
it), so what is to be waited for is left alone first, for as long as it can't be done anyway. ttnn and torch are handed
in.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from backends.engine.pace import Pace
from backends.engine.padding import Padding
from backends.engine.runner import Decoded, DeviceSampling, Floats, Launched, PrefillRow
from backends.engine.tt_api import GeneratorApi, UnknownGenerator
from backends.engine.tt_batches import DecodeBatch, prefill_batch, sampling_lists

PADDING = Padding(smallest=128, second=1024)
"""models/tt_transformers/tt/common.py, get_padded_prefill_len."""


class TtGenerator:
    """generator: tt-metal's, with its cache in kv_cache. sampling_params: its class of them. width: of a page table.
    Raises UnknownGenerator."""

    def __init__(
        self, generator: Any, kv_cache: list[Any], api: GeneratorApi, *, ttnn: Any, torch: Any, sampling_params: Any,
        batch_size: int, width: int,
    ) -> None:  # fmt: skip
        if api.commands == "reset_batch" and not hasattr(generator, "prev_page_table"):
            raise UnknownGenerator("this tt-metal's Generator isn't known: it has no prev_page_table")
        self.batch_size = batch_size
        self.width = width
        self._generator = generator
        self._kv_cache = kv_cache
        self._api = api
        self._ttnn = ttnn
        self._tensor = torch.from_numpy
        self._sampling_params = sampling_params
        self._pace = Pace()
        self._rest_until = 0.0  # monotonic
        self._synchronize = ttnn.synchronize_device
        ttnn.synchronize_device = self._rest_and_synchronize  # prefills wait in the Generator, by this function,
        if not api.resumes:  # or, before 2026, by this method of each model's
            for model in generator.model:
                model.process_output_prefill = self._resting_before(model.process_output_prefill)

    def close(self) -> None:
        self._ttnn.synchronize_device = self._synchronize
        self._generator, self._kv_cache = None, []

    def forget_pace(self) -> None:
        """What has been run so far took longer than anything to come."""
        self._pace, self._rest_until = Pace(), 0.0

    def prefill(self, rows: Sequence[PrefillRow], *, is_traced: bool) -> list[Floats]:
        """The logits of each row's last token, [1, vocab_size]."""
        batch = prefill_batch(rows, self.width)
        lengths = [PADDING.padded(len(row.tokens)) for row in rows]
        began_at = time.monotonic()
        self._rest_until = began_at + self._pace.rest_s(lengths)
        optional = {"enable_trace": is_traced, "warmup_prefill": False, "start_pos": batch.starts}
        logits = self._generator.prefill_forward_text(
            self._tensor(batch.tokens),
            page_table=self._tensor(batch.page_table),
            kv_cache=self._kv_cache,
            prompt_lens=batch.ends,
            empty_slots=batch.slots,
            **{name: value for name, value in optional.items() if name in self._api.prefill_takes},
        )
        self._pace.note(lengths, time.monotonic() - began_at)
        return list(logits.numpy())

    def launch(self, batch: DecodeBatch, samplings: Sequence[DeviceSampling] | None, *, is_traced: bool) -> Launched:
        is_sampled = samplings is not None
        sampled = {}
        if samplings is not None:
            lists = sampling_lists(samplings, batch.rows, self.batch_size)
            sampled = {"sampling_params": self._sampling_params(**lists)}
        began_at = time.monotonic()
        output = getattr(self._generator, self._api.decode)(
            self._tensor(batch.tokens),
            self._tensor(batch.positions),
            page_table=self._tensor(batch.page_table),
            kv_cache=self._kv_cache,
            enable_trace=is_traced,
            read_from_device=False,
            **sampled,
            **self._commands(is_sampled=is_sampled),
        )
        return partial(self._read, output, batch, is_sampled, began_at)

    def _commands(self, *, is_sampled: bool) -> dict[str, bool]:
        """Everything is copied at each step: the host's tokens are never older than the device's, and may be others, a
        prompt's own or chosen on the host. In February 2026 reset_batch was for the sampler alone: a traced decode that
        samples went on with what the last of its kind chose, unless the page table had changed (generator.py,
        _decode_forward_trace_text)."""
        match self._api.commands:
            case "reload":
                return {
                    "reload_inputs": True,
                    "reload_page_table": False,
                    "reload_sampling_params": is_sampled,
                    "reset_sampling_state": is_sampled,
                }
            case "reset_batch" if is_sampled:
                self._generator.prev_page_table = None
                return {"reset_batch": True}
            case _:
                return {}

    def _read(self, output: Any, batch: DecodeBatch, is_sampled: bool, began_at: float) -> Decoded:
        kind = ["decode that samples" if is_sampled else "decode"]
        self._rest_until = began_at + self._pace.rest_s(kind)
        self._rest()
        found = self._to_host(output, is_sampled)
        self._pace.note(kind, time.monotonic() - began_at)
        if is_sampled:
            return Decoded(tokens=found.numpy().reshape(-1)[batch.rows].astype(np.int32))
        return Decoded(logits=found.numpy()[batch.rows, -1])

    def _to_host(self, output: Any, is_sampled: bool) -> Any:
        """A tensor of torch's. Only tokens are waited for by event: the Generator of February 2026 can't read logits so
        (read_decode_output asks for log-probabilities that aren't there)."""
        generator = self._generator
        if self._api.names_batch:
            return generator.read_decode_output(output, self.batch_size, is_tokens=is_sampled)
        if is_sampled and self._api.reads_events:
            on_host, events = generator.read_decode_output(output, async_read=True)
            for event in events:
                self._ttnn.event_synchronize(event)
        else:
            on_host = generator.read_decode_output(output)
        tokens_or_logits, _ = generator.process_decode_output_host(on_host, is_tokens=is_sampled)
        return tokens_or_logits

    def _rest_and_synchronize(self, *args: Any, **options: Any) -> None:
        self._rest()
        self._synchronize(*args, **options)

    def _resting_before(self, wait: Callable[..., Any]) -> Callable[..., Any]:
        def rest_and_wait(*args: Any, **options: Any) -> Any:
            self._rest()
            return wait(*args, **options)

        return rest_and_wait

    def _rest(self) -> None:
        """Lets others have the interpreter."""
        time.sleep(max(0.0, self._rest_until - time.monotonic()))
