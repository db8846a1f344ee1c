"""A model on a Tenstorrent card, through tt-metal's Generator in this process: the only file that imports ttnn, torch
or tt-metal's `models`.

What the Generator demands of a call is in tt_batches.py, which Generator it is in tt_api.py. All calls come from one
thread at a time: first the one that loads, then the engine's. Prefills are read at once, as logits. A decode is only
launched: the device may run while the engine does other things, and is waited for when it is read.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import structlog

from backends.base import ModelInfo
from backends.engine import tt_failures
from backends.engine.model_info import read_model_info
from backends.engine.options import EngineOptions
from backends.engine.pace import Pace
from backends.engine.padding import Padding
from backends.engine.runner import Decoded, DeviceSampling, Floats, Ints, Launched, ModelRunner, PrefillRow, Say, Traits
from backends.engine.tt_api import GeneratorApi, UnknownGenerator, detect
from backends.engine.tt_batches import DecodeBatch, decode_batch, prefill_batch, sampling_lists
from backends.engine.tt_mesh import Mesh
from backends.engine.tt_options import MOCK_CLUSTER, TtOptions
from backends.errors import BackendFailed

PADDING = Padding(smallest=128, second=1024)
"""models/tt_transformers/tt/common.py, get_padded_prefill_len."""

_SAMPLES_UP_TO = 64 * 1024  # logits on each chip (models/tt_transformers/tt/model.py)
_SHOWN = ("HF_MODEL", "MESH_DEVICE", "TT_METAL_HOME", "PYTHONPATH", "TT_CACHE_PATH", "TT_VISIBLE_DEVICES", MOCK_CLUSTER)

log = structlog.get_logger()


def load_ttnn(tt: TtOptions, options: EngineOptions, say: Say) -> tuple[ModelRunner, ModelInfo]:
    """A LoadRunner, but for its first argument: opens the device. The model follows with allocate_kv."""
    with _explained(), _closing_on_error(runner := TtRunner(tt, say)):
        runner.open()
    return runner, _info(options.folder, runner.window)


def _info(folder: Path, window: int) -> ModelInfo:
    try:
        return read_model_info(folder)
    except BackendFailed:  # a kind of model that only tt-metal knows
        return ModelInfo(window=window, path=str(folder))


@dataclass(frozen=True, slots=True)
class _Libraries:
    """What is imported of tt-metal: modules and classes, none of which has types."""

    ttnn: Any
    torch: Any
    generator: Any
    create_model: Any
    create_submeshes: Any
    paged_attention: Any
    precision: Any
    sampling_params: Any

    @classmethod
    def load(cls, home: Path | None) -> _Libraries:
        """Raises ImportError."""
        os.environ.setdefault("LOGURU_LEVEL", "WARNING")  # it logs several lines about every prompt
        import torch
        import ttnn

        if home is not None and str(home) not in sys.path:
            sys.path.append(str(home))  # last: it has folders named as ours are
        from models.tt_transformers.tt import common, generator, model_config

        try:
            from models.common.sampling import SamplingParams
        except ImportError:  # before ttnn 0.67
            SamplingParams = generator.SamplingParams  # noqa: N806
        return cls(
            ttnn,
            torch,
            generator.Generator,
            common.create_tt_model,
            generator.create_submeshes,
            common.PagedAttentionConfig,
            model_config.DecodersPrecision,
            SamplingParams,
        )


class TtRunner:
    """A ModelRunner. say: told what is being done while it loads."""

    def __init__(self, options: TtOptions, say: Say) -> None:
        self.vocab_size = 0
        self.window = options.max_seq_len
        self.max_batch_size = options.max_batch_size * options.data_parallel
        self.traits = Traits()
        self._options = options
        self._say = say
        self._libraries: _Libraries | None = None
        self._mesh: Mesh | None = None
        self._generator: Any = None
        self._kv_cache: list[Any] = []
        self._width = 0  # of a page table
        self._pace = Pace()
        self._rest_until = 0.0  # monotonic

    # life

    def open(self) -> None:
        """Imports, and takes hold of the device. Raises BackendFailed and whatever ttnn does."""
        os.environ.update(self._options.environment)
        log.info("tenstorrent environment", **{name: os.environ[name] for name in _SHOWN if name in os.environ})
        self._say("importing ttnn and tt-metal's models")
        libraries = self._libraries = _Libraries.load(self._options.tt_metal_home)
        self._api = detect(libraries.generator)
        log.info("tt-metal's Generator", is_that_of=self._api.version, resumes=self._api.resumes)
        self.traits = _traits(self._options, self._api)
        self._say("opening the device")
        self._mesh = Mesh(libraries.ttnn, self._options)
        self._wait_patiently(libraries.ttnn)

    def _wait_patiently(self, ttnn: Any) -> None:
        """Prefills wait for the device inside of the Generator, by this function of the module."""
        synchronize = ttnn.synchronize_device

        def rest_and_synchronize(*args: Any, **options: Any) -> None:
            self._rest()
            synchronize(*args, **options)

        ttnn.synchronize_device = rest_and_synchronize

    def _rest(self) -> None:
        """Lets others have the interpreter while the device can't be done anyway."""
        time.sleep(max(0.0, self._rest_until - time.monotonic()))

    def allocate_kv(self, num_blocks: int, block_size: int) -> None:
        """The model with its cache, and everything compiled that a request may need."""
        with _explained():
            self._build(num_blocks + 1, block_size)  # one more: tt_batches.JUNK_BLOCK
            self._block_size, self._width = block_size, -(-self.window // block_size)
            self._warm_up()

    def _build(self, num_blocks: int, block_size: int) -> None:
        lib, mesh, options = *self._opened(), self._options
        self._say("reading weights and putting them on the device")
        precision = getattr(lib.precision, options.precision)
        parts, state_dict = [], None
        for submesh in lib.create_submeshes(mesh.device, options.data_parallel):
            args, model, cache, state_dict = lib.create_model(
                submesh,
                instruct=True,
                max_batch_size=options.max_batch_size,
                optimizations=lambda args: precision(args.n_layers, args.model_name),
                max_seq_len=self.window,
                paged_attention_config=lib.paged_attention(block_size, num_blocks),
                state_dict=state_dict,
            )
            parts.append((args, model))
            self._kv_cache.append(cache)
        self.vocab_size = parts[0][0].vocab_size
        all_args, models = [args for args, _ in parts], [model for _, model in parts]
        self._generator = lib.generator(models, all_args, mesh.device)
        chips = mesh.num_chips // options.data_parallel
        if self.traits.sampling != "host" and self.vocab_size > _SAMPLES_UP_TO * max(chips, 2):
            log.warning("the vocabulary is too large to sample on this device: the host does", vocab=self.vocab_size)
            self.traits = _traits(options, self._api, samples=False)

    def _warm_up(self) -> None:
        """Everything is compiled before anything is captured: what a compilation allocates could overwrite a trace."""
        kinds = list(self._warm_ups())
        for number, (name, run) in enumerate(kinds, 1):
            self._say(f"compiling {name} ({number} of {len(kinds)})")
            run(is_traced=False)
        for name, run in kinds:
            if self._is_traced(name):
                self._say(f"capturing {name}")
                run(is_traced=True)
        self._pace, self._rest_until = Pace(), 0.0  # these took longer than any to come

    def _warm_ups(self) -> Iterator[tuple[str, Callable[..., object]]]:
        """All of it writes into the junk block alone."""
        no_block = np.zeros(0, np.int32)
        for length in self._prefill_lengths():
            for start in (0, self._block_size) if self.traits.resumes else (0,):
                tokens = np.zeros(min(length, self.window - 1 - start), np.int32)
                row = PrefillRow(tokens, start, no_block, slot=0)
                yield f"prefill of {length} tokens{' behind others' if start else ''}", partial(self._prefill, [row])
        zero = np.zeros(1, np.int32)
        batch = decode_batch(zero, zero, [no_block], [0], self.max_batch_size, self._width)
        yield "decode", lambda *, is_traced: self._begin(batch, None, is_traced)()
        if self.traits.sampling != "host":
            greedy = [DeviceSampling(0.0, 1, 1.0)]
            yield "decode that samples", lambda *, is_traced: self._begin(batch, greedy, is_traced)()

    def _prefill_lengths(self) -> Iterator[int]:
        length = PADDING.smallest
        while length < self.window:
            yield length
            length = PADDING.padded(length + 1)
        yield length

    def _is_traced(self, name: str) -> bool:
        match self._options.trace:
            case "none":
                return False
            case "decode":
                return name.startswith("decode")
            case _:
                return name.startswith("decode") or "enable_trace" in self._api.prefill_takes

    def close(self) -> None:
        """The Generator goes first: its end closes the parts of the mesh that it has been given."""
        self._generator, self._kv_cache = None, []
        gc.collect()
        mesh, self._mesh = self._mesh, None
        if mesh is not None:
            mesh.close()

    # steps

    def prefill(self, rows: Sequence[PrefillRow]) -> list[Floats]:
        return self._prefill(rows, is_traced=self._is_traced("prefill"))

    def _prefill(self, rows: Sequence[PrefillRow], *, is_traced: bool) -> list[Floats]:
        lib, _ = self._opened()
        tensor = lib.torch.from_numpy
        batch = prefill_batch(rows, self._width)
        lengths = [PADDING.padded(len(row.tokens)) for row in rows]
        began_at = time.monotonic()
        self._rest_until = began_at + self._pace.rest_s(lengths)
        optional = {"enable_trace": is_traced, "warmup_prefill": False, "start_pos": batch.starts}
        logits = self._generator.prefill_forward_text(
            tensor(batch.tokens),
            page_table=tensor(batch.page_table),
            kv_cache=self._kv_cache,
            prompt_lens=batch.ends,
            empty_slots=batch.slots,
            **{name: value for name, value in optional.items() if name in self._api.prefill_takes},
        )
        self._pace.note(lengths, time.monotonic() - began_at)
        return list(logits.numpy())

    def launch(
        self,
        tokens: Ints,
        positions: Ints,
        block_tables: Sequence[Ints],
        slots: Sequence[int],
        samplings: Sequence[DeviceSampling] | None,
    ) -> Launched:
        batch = decode_batch(tokens, positions, block_tables, slots, self.max_batch_size, self._width)
        return self._begin(batch, samplings, is_traced=self._is_traced("decode"))

    def _begin(self, batch: DecodeBatch, samplings: Sequence[DeviceSampling] | None, is_traced: bool) -> Launched:
        lib, _ = self._opened()
        tensor = lib.torch.from_numpy
        sampled = {}
        if samplings is not None:
            lists = sampling_lists(samplings, batch.rows, self.max_batch_size)
            sampled = {"sampling_params": lib.sampling_params(**lists)}
        began_at = time.monotonic()
        output = getattr(self._generator, self._api.decode)(
            tensor(batch.tokens),
            tensor(batch.positions),
            page_table=tensor(batch.page_table),
            kv_cache=self._kv_cache,
            enable_trace=is_traced,
            read_from_device=False,
            **sampled,
            **self._commands(is_sampled=samplings is not None),
        )
        return partial(self._read, output, batch, samplings is not None, began_at)

    def _commands(self, *, is_sampled: bool) -> dict[str, bool]:
        """Everything is copied at each step: the host's tokens are never older than the device's."""
        match self._api.commands:
            case "reload":
                return {
                    "reload_inputs": True,
                    "reload_page_table": False,
                    "reload_sampling_params": is_sampled,
                    "reset_sampling_state": is_sampled,
                }
            case "reset_batch" if is_sampled:
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
            return generator.read_decode_output(output, self.max_batch_size, is_tokens=is_sampled)
        if is_sampled and self._api.reads_events:
            on_host, events = generator.read_decode_output(output, async_read=True)
            lib, _ = self._opened()
            for event in events:
                lib.ttnn.event_synchronize(event)
        else:
            on_host = generator.read_decode_output(output)
        tokens_or_logits, _ = generator.process_decode_output_host(on_host, is_tokens=is_sampled)
        return tokens_or_logits

    def embed(self, tokens: Ints) -> Floats:
        raise NotImplementedError("the Generator gives no hidden states")

    def _opened(self) -> tuple[_Libraries, Mesh]:
        if self._libraries is None or self._mesh is None:
            raise RuntimeError("the device isn't open")
        return self._libraries, self._mesh


def _traits(options: TtOptions, api: GeneratorApi, *, samples: bool = True) -> Traits:
    return Traits(
        is_asynchronous=True,
        padding=PADDING,
        resumes=api.resumes,
        shares_blocks=api.resumes and options.data_parallel == 1,  # each copy of the model has a cache of its own
        sampling=options.sampling if samples and api.samples else "host",
        gives_all_logits=False,
        embeds=False,
    )


@contextmanager
def _explained() -> Iterator[None]:
    """Raises BackendFailed, in one line, for whatever goes wrong."""
    try:
        yield
    except BackendFailed:
        raise
    except UnknownGenerator as error:
        raise BackendFailed(str(error)) from error
    except Exception as error:
        log.error("tt-metal failed", exc_info=error)
        raise BackendFailed(tt_failures.in_words(error)) from error


@contextmanager
def _closing_on_error(runner: TtRunner) -> Iterator[None]:
    try:
        yield
    except BaseException:
        runner.close()
        raise
