"""`backend: vllm`: a vLLM server of our own, on a private unix socket with a key that nobody else knows.

Owns vLLM's command line, its environment and what its log says of its start. Wire facts: `vllm serve --help`,
vllm/envs.py; the log's lines are those of versions 0.25 to 0.32.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, TypeAlias

from backends.private_socket import PrivateSocket
from backends.server import LOOPBACK, Keeping, checked_port
from backends.upstream import Timeouts, Upstream
from backends.upstream_backend import Behaviour, UpstreamBackend
from backends.worker import Launch, Plan, Worker

Device: TypeAlias = Literal["tt", "cuda", "cpu"]

QUIET = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
DEVICE_ENV: Mapping[Device | None, Mapping[str, str]] = {
    None: {},
    "tt": {"VLLM_RPC_TIMEOUT": "100000"},  # milliseconds: the first run of a shape compiles it
    "cuda": {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"},  # so that CUDA_VISIBLE_DEVICES counts as nvidia-smi does
    "cpu": {"VLLM_HOST_IP": LOOPBACK},  # else its inner sockets may use the network card's address
}
PHASES = (
    (re.compile(r"Resolved architecture: (\w+)"), "preparing {}"),
    (re.compile(r"Initializing a V1 LLM engine"), "starting the engine"),
    (re.compile(r"Starting to load model"), "loading the model"),
    (re.compile(r"Loading \w+ checkpoint shards:\s+(\d+%)"), "reading weights, {}"),
    (re.compile(r"Loading weights took"), "weights are read"),
    (re.compile(r"GPU KV cache size|for KV cache"), "reserving the KV cache"),
    (re.compile(r"[Cc]ompil|Capturing|[Ww]arm(?:ing)? ?up"), "compiling and warming up"),
    (re.compile(r"Starting vLLM (?:API )?server"), "opening the server"),
    (re.compile(r"Application startup complete"), "the server is up"),
)
NAME = "model"
"""What the model is called between the two of us."""

PATIENT = Timeouts(first_byte_s=86_400.0, idle_s=86_400.0)
"""An answer may wait for long in vLLM's own queue. It hangs when nothing at all moves, not when one answer doesn't."""


@dataclass(frozen=True, slots=True)
class VllmOptions:
    """model: a folder, or a name on Hugging Face. python: of the environment that vLLM is installed in; None: `vllm` is
    on the PATH, perhaps by the setup script's doing. window: tokens; None: as many as the model can. args: more for
    `vllm serve`. listens: on a unix socket, or on a loopback port where vLLM is too old for one."""

    model: str
    python: Path | None = None
    device: Device | None = None
    window: int | None = None
    args: tuple[str, ...] = ()
    listens: Literal["unix", "loopback"] = "unix"
    keeping: Keeping = field(default_factory=Keeping)
    behaviour: Behaviour = field(default_factory=Behaviour)


def vllm_backend(options: VllmOptions) -> UpstreamBackend:
    return UpstreamBackend(Worker(_plan(options)), options.behaviour)


def _plan(options: VllmOptions) -> Plan:
    keeping = options.keeping
    return Plan(
        launch=partial(_launch, options),
        model=NAME,
        accent="vllm",
        health_s=keeping.health_s,
        start_timeout_s=keeping.start_timeout_s,
        grace_s=keeping.grace_s,
        hang_s=keeping.hang_s,
        log_lines=keeping.log_lines,
        phase_of=phase_of,
        restarts=keeping.restarts(),
    )


def _launch(options: VllmOptions) -> Launch:
    key = secrets.token_urlsafe(24)
    env = environment(options, key, os.environ)
    if options.listens == "loopback":
        port = checked_port(None)
        upstream = Upstream(f"http://{LOOPBACK}:{port}", key=key, timeouts=PATIENT)
        return Launch(command(options, ["--host", LOOPBACK, "--port", str(port)]), env, upstream)
    place = PrivateSocket()
    upstream = Upstream("http://vllm", socket=str(place.path), key=key, timeouts=PATIENT)
    return Launch(command(options, ["--uds", str(place.path)]), env, upstream, place.remove)


def command(options: VllmOptions, address: list[str]) -> list[str]:
    """Ours come first, so that `args` may say otherwise."""
    start = [str(options.python), "-m", "vllm.entrypoints.cli.main"] if options.python else ["vllm"]
    behaviour = options.behaviour
    window = ["--max-model-len", str(options.window)] if options.window else []
    batch = ["--max-num-seqs", str(behaviour.max_batch_size)] if behaviour.max_batch_size else []
    order = ["--scheduling-policy", "priority"] if behaviour.priorities else []
    ours = ["--served-model-name", NAME, "--enable-prompt-tokens-details", "--disable-uvicorn-access-log"]
    return options.keeping.command(
        [*start, "serve", os.path.expanduser(options.model), *address, *ours, *window, *batch, *order, *options.args]
    )


def environment(options: VllmOptions, key: str, outer: Mapping[str, str]) -> dict[str, str]:
    """The key goes by the environment: a command line is everybody's to read. `env` has the last word."""
    offline = OFFLINE if Path(options.model).expanduser().is_dir() else {}
    return {**outer, **QUIET, **offline, **DEVICE_ENV[options.device], **options.keeping.env, "VLLM_API_KEY": key}


def phase_of(line: str) -> str | None:
    """What a line of the log tells of the start, in words."""
    for pattern, words in PHASES:
        if found := pattern.search(line):
            return words.format(*found.groups())
    return None
