"""`backend: server`: any server that speaks OpenAI's API, started by us or running elsewhere."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from backends.accent import AccentName
from backends.errors import BackendFailed
from backends.pool import Pool
from backends.restarts import Restarts
from backends.upstream import Timeouts, Upstream
from backends.upstream_backend import Behaviour, UpstreamBackend
from backends.upstream_facts import read_facts
from backends.worker import Launch, Plan, Worker

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Keeping:
    """How a worker of our own is kept alive: see backends.worker.Plan and backends.restarts.Restarts."""

    setup: Path | None = None  # sourced by bash before the command runs
    env: Mapping[str, str] = field(default_factory=dict)
    start_timeout_s: float = 600.0
    grace_s: float = 10.0
    hang_s: float = 120.0
    health_s: float = 5.0
    max_deaths: int = 5
    log_lines: int = 1000

    def restarts(self) -> Restarts:
        return Restarts(max_deaths=self.max_deaths)

    def command(self, command: Sequence[str]) -> list[str]:
        """As it is run: what the setup script exports, and its PATH, hold for the command."""
        if self.setup is None:
            return list(command)
        return ["bash", "-c", 'source "$0" && exec "$@"', str(self.setup), *command]


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Either urls of servers that run elsewhere, or a command that starts one on this machine.

    In the command and in env `{port}` is the port that it must listen on and `{key}` the key that it must ask for.
    passes_keys: they get the client's own key in place of ours. model: what it is called there; None: its first.
    speaks: whose dialect of OpenAI's API; None: as the server says. health: a path that answers 200 when it is well;
    "": it has none.
    """

    urls: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    keeping: Keeping = field(default_factory=Keeping)
    port: int | None = None
    model: str | None = None
    speaks: AccentName | None = None
    key: str | None = None
    passes_keys: bool = False
    health: str = "/health"
    probe_s: float = 5.0
    timeouts: Timeouts = field(default_factory=Timeouts)
    behaviour: Behaviour = field(default_factory=Behaviour)


def server_backend(options: ServerOptions) -> UpstreamBackend:
    if options.command:
        return UpstreamBackend(Worker(_plan(options)), options.behaviour)
    probe = partial(read_facts, model=options.model, accent=options.speaks)
    return UpstreamBackend(
        Pool(lambda: [_attached(url, options) for url in options.urls], probe, every_s=options.probe_s),
        options.behaviour,
    )


def _attached(url: str, options: ServerOptions) -> Upstream:
    return Upstream(url, key=options.key, passes_keys=options.passes_keys, timeouts=options.timeouts)


def _plan(options: ServerOptions) -> Plan:
    keeping = options.keeping
    return Plan(
        launch=partial(_launch, options),
        model=options.model,
        accent=options.speaks,
        health=options.health,
        health_s=keeping.health_s,
        start_timeout_s=keeping.start_timeout_s,
        grace_s=keeping.grace_s,
        hang_s=keeping.hang_s,
        log_lines=keeping.log_lines,
        restarts=keeping.restarts(),
    )


def _launch(options: ServerOptions) -> Launch:
    """Raises BackendFailed for a port that somebody else holds: servers notice only after their whole start."""
    keeping = options.keeping
    port = checked_port(options.port)
    wants_key = any("{key}" in text for text in (*options.command, *keeping.env.values()))
    key = options.key or (secrets.token_urlsafe(24) if wants_key else None)

    def filled(text: str) -> str:
        return text.replace("{port}", str(port)).replace("{key}", key or "")

    return Launch(
        command=keeping.command([filled(word) for word in options.command]),
        env={**os.environ, **{name: filled(value) for name, value in keeping.env.items()}},
        upstream=Upstream(f"http://{LOOPBACK}:{port}", key=key, timeouts=options.timeouts),
    )


def checked_port(wanted: int | None) -> int:
    """A free one on the loopback interface. Raises BackendFailed when the wanted one isn't."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((LOOPBACK, wanted or 0))
        except OSError as error:
            raise BackendFailed(f"port {wanted} can't be used: {error.strerror}") from None
        port: int = sock.getsockname()[1]
        return port
