"""A model on a Tenstorrent card, through tt-metal's Generator in this process: the only file that imports ttnn, torch
or tt-metal's `models`.

Owns the load: imports, mesh, weights, warm-up. How the Generator is called is in tt_generator.py, with what in
tt_batches.py, and which Generator it is in tt_api.py. All calls come from one thread at a time: first the one that
loads, then the engine's. Prefills are read at once, as logits. A decode is only launched: the device may run while the
engine does other things, and is waited for when it is read.
"""

from __future__ import annotations

import gc
import os
import sys
import traceback
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
from backends.engine.runner import DeviceSampling, Floats, Ints, Launched, ModelRunner, PrefillRow, Say, Traits
from backends.engine.tt_api import GeneratorApi, UnknownGenerator, detect
from backends.engine.tt_batches import decode_batch
from backends.engine.tt_generator import PADDING, TtGenerator
from backends.engine.tt_mesh import Mesh
from backends.engine.tt_options import MOCK_CLUSTER, TtOptions
from backends.errors import BackendFailed

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
        self._generator: TtGenerator | None = None

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

    def allocate_kv(self, num_blocks: int, block_size: int) -> None:
        """The model with its cache, and everything compiled that a request may need."""
        with _explained():
            generator = self._generator = self._build(num_blocks + 1, block_size)  # one more: tt_batches.JUNK_BLOCK
            self._warm_up(generator, block_size)

    def _build(self, num_blocks: int, block_size: int) -> TtGenerator:
        lib, mesh, options = *self._opened(), self._options
        self._say("reading weights and putting them on the device")
        precision = getattr(lib.precision, options.precision)
        all_args, models, caches, state_dict = [], [], [], None
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
            all_args.append(args)
            models.append(model)
            caches.append(cache)
        self.vocab_size = all_args[0].vocab_size
        chips = mesh.num_chips // options.data_parallel
        if self.traits.sampling != "host" and self.vocab_size > _SAMPLES_UP_TO * max(chips, 2):
            log.warning("the vocabulary is too large to sample on this device: the host does", vocab=self.vocab_size)
            self.traits = _traits(options, self._api, samples=False)
        return TtGenerator(
            lib.generator(models, all_args, mesh.device),
            caches,
            self._api,
            ttnn=lib.ttnn,
            torch=lib.torch,
            sampling_params=lib.sampling_params,
            batch_size=self.max_batch_size,
            width=-(-self.window // block_size),
        )

    def _warm_up(self, generator: TtGenerator, block_size: int) -> None:
        """Everything is compiled before anything is captured: what a compilation allocates could overwrite a trace."""
        kinds = list(self._warm_ups(generator, block_size))
        for number, (name, run) in enumerate(kinds, 1):
            self._say(f"compiling {name} ({number} of {len(kinds)})")
            run(is_traced=False)
        for name, run in kinds:
            if self._is_traced(name):
                self._say(f"capturing {name}")
                run(is_traced=True)
        generator.forget_pace()

    def _warm_ups(self, generator: TtGenerator, block_size: int) -> Iterator[tuple[str, Callable[..., object]]]:
        """All of it writes into the junk block alone."""
        no_block = np.zeros(0, np.int32)
        for length in self._prefill_lengths():
            for start in (0, block_size) if self.traits.resumes else (0,):
                tokens = np.zeros(min(length, self.window - 1 - start), np.int32)
                row = PrefillRow(tokens, start, no_block, slot=0)
                yield (
                    f"prefill of {length} tokens{' behind others' if start else ''}",
                    partial(generator.prefill, [row]),
                )
        zero = np.zeros(1, np.int32)
        batch = decode_batch(zero, zero, [no_block], [0], generator.batch_size, generator.width)
        yield "decode", lambda *, is_traced: generator.launch(batch, None, is_traced=is_traced)()
        if self.traits.sampling != "host":
            greedy = [DeviceSampling(0.0, 1, 1.0)]
            yield "decode that samples", lambda *, is_traced: generator.launch(batch, greedy, is_traced=is_traced)()

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
        generator, self._generator = self._generator, None
        if generator is not None:
            generator.close()
            gc.collect()
        mesh, self._mesh = self._mesh, None
        if mesh is not None:
            mesh.close()

    # steps

    def prefill(self, rows: Sequence[PrefillRow]) -> list[Floats]:
        return self._opened_generator().prefill(rows, is_traced=self._is_traced("prefill"))

    def launch(
        self,
        tokens: Ints,
        positions: Ints,
        block_tables: Sequence[Ints],
        slots: Sequence[int],
        samplings: Sequence[DeviceSampling] | None,
    ) -> Launched:
        generator = self._opened_generator()
        batch = decode_batch(tokens, positions, block_tables, slots, generator.batch_size, generator.width)
        return generator.launch(batch, samplings, is_traced=self._is_traced("decode"))

    def _opened_generator(self) -> TtGenerator:
        if self._generator is None:
            raise RuntimeError("the device isn't open")
        return self._generator

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
        gives_hidden_states=False,
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
        traceback.clear_frames(error.__traceback__)  # what is left there may be on the device, which is closed next
        raise BackendFailed(tt_failures.in_words(error)) from error


@contextmanager
def _closing_on_error(runner: TtRunner) -> Iterator[None]:
    try:
        yield
    except BaseException:
        runner.close()
        raise
