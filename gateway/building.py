"""From a model's options in the config to its backend: the one place to look when a new kind of backend is added."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from typing_extensions import assert_never

from backends.base import Backend
from backends.engine import demo
from backends.engine.backend import EngineBackend, EngineOptions
from backends.server import Keeping, ServerOptions, server_backend
from backends.upstream import Timeouts
from backends.upstream_backend import Behaviour
from backends.vllm import VllmOptions, vllm_backend
from gateway.config import AnyModel, EngineModel, ServedElsewhere, ServerModel, VllmModel


def build_backend(options: AnyModel) -> Backend:
    match options:
        case EngineModel():
            return EngineBackend(engine_options(options))
        case VllmModel():
            return vllm_backend(vllm_options(options))
        case ServerModel():
            return server_backend(server_options(options))
        case _:
            assert_never(options)


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
