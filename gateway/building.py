"""From a model's options in the config to its backend: the one place to look when a new kind of backend is added."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from typing_extensions import assert_never

from backends.base import Backend
from backends.engine import demo
from backends.engine.backend import EngineBackend, EngineOptions
from backends.engine.load_times import LoadTimes
from backends.engine.tt_options import TtOptions, default_num_blocks, model_folder
from backends.engine.tt_runner import load_ttnn
from backends.server import Keeping, ServerOptions, server_backend
from backends.upstream import Timeouts
from backends.upstream_backend import Behaviour
from backends.vllm import VllmOptions, vllm_backend
from gateway.config import AnyModel, EngineModel, ServedElsewhere, ServerModel, TtnnModel, VllmModel
from gateway.document import ConfigError


def build_backend(options: AnyModel) -> Backend:
    match options:
        case EngineModel():
            engine = engine_options(options)
            return EngineBackend(engine, times=_load_times(engine))
        case TtnnModel():
            card, engine = ttnn_options(options)
            return EngineBackend(engine, partial(load_ttnn, card), _load_times(engine, card))
        case VllmModel():
            return vllm_backend(vllm_options(options))
        case ServerModel():
            return server_backend(server_options(options))
        case _:
            assert_never(options)


def _load_times(*options: EngineOptions | TtOptions) -> LoadTimes:
    """Those of the last load with the same options."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    digest = hashlib.sha256(repr(options).encode()).hexdigest()
    return LoadTimes(home / "dragoman" / "loads" / f"{digest[:16]}.json")


def vllm_options(options: VllmModel) -> VllmOptions:
    folder = Path(options.model).expanduser()
    return VllmOptions(
        model=options.model,
        python=Path(options.python).expanduser() if options.python else None,
        device=options.device,
        window=options.window,
        args=options.args,
        listens=options.listens,
        keeping=_keeping(options),
        behaviour=replace(_behaviour(options, folder if folder.is_dir() else None), priorities=options.priorities),
    )


def server_options(options: ServerModel) -> ServerOptions:
    folder = Path(options.folder).expanduser() if options.folder else None
    return ServerOptions(
        urls=options.urls,
        command=options.command,
        keeping=_keeping(options),
        port=options.port,
        model=options.model,
        speaks=options.speaks,
        key=options.key,
        passes_keys=options.pass_key,
        health=options.health,
        probe_s=options.probe_s,
        timeouts=Timeouts(options.connect_s, options.first_byte_s, options.idle_s),
        behaviour=_behaviour(options, folder),
    )


def _behaviour(options: ServedElsewhere, folder: Path | None) -> Behaviour:
    return Behaviour(
        folder=folder,
        window=options.window,
        resumes=options.resume,
        num_retries=options.retries,
        max_batch_size=options.max_batch_size,
        completion_slots=options.completion_slots,
    )


def _keeping(options: ServedElsewhere) -> Keeping:
    return Keeping(
        setup=Path(options.setup).expanduser() if options.setup else None,
        env=options.env,
        start_timeout_s=options.start_timeout_s,
        grace_s=options.grace_s,
        hang_s=options.hang_s,
        health_s=options.health_s,
        max_deaths=options.max_deaths,
        log_lines=options.log_lines,
    )


def engine_options(options: EngineModel) -> EngineOptions:
    folder = Path(options.folder).expanduser() if options.folder else demo.FOLDER
    return EngineOptions(
        folder=folder,
        window=options.window,
        max_batch_size=options.max_batch_size,
        block_size=options.block_size,
        num_blocks=options.num_blocks,
        step_tokens=options.step_tokens,
        max_waiting=options.max_waiting,
        completion_slots=options.completion_slots,
        step_deadline_s=options.step_deadline_s,
    )


def ttnn_options(options: TtnnModel, environment: Mapping[str, str] = os.environ) -> tuple[TtOptions, EngineOptions]:
    """What isn't in the config is in the environment that tt-metal's own programs use. Raises ConfigError."""
    model = options.hf_model or environment.get("HF_MODEL")
    if not model:
        raise ConfigError("a ttnn model needs hf_model, or HF_MODEL in the environment")
    folder = model_folder(model, environment)
    home = options.tt_metal_home or environment.get("TT_METAL_HOME")
    num_sequences = options.max_batch_size * options.data_parallel
    card = TtOptions(
        model=str(folder) if Path(model).expanduser().is_dir() else model,
        mesh_device=options.mesh_device or environment.get("MESH_DEVICE"),
        tt_metal_home=Path(home).expanduser() if home else None,
        max_batch_size=options.max_batch_size,
        max_seq_len=options.max_seq_len,
        precision=options.precision,
        trace=options.trace,
        trace_region_size=options.trace_region_size,
        sampling=options.sampling,
        data_parallel=options.data_parallel,
    )
    engine = EngineOptions(
        folder=folder,
        window=options.max_seq_len,
        max_batch_size=num_sequences,
        block_size=options.block_size,
        num_blocks=options.num_blocks or default_num_blocks(options.max_seq_len, num_sequences, options.block_size),
        step_tokens=options.step_tokens,
        max_waiting=options.max_waiting,
        completion_slots=options.completion_slots,
        step_deadline_s=options.step_deadline_s,
        restarts_on_hang=options.restart,
        max_hangs=options.max_hangs,
    )
    return card, engine
