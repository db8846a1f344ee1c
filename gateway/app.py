"""The running gateway: listeners bound first, models loaded behind them, everything let go at the end."""

from __future__ import annotations

import errno
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import structlog
from aiohttp import web
from aiohttp.http import SERVER_SOFTWARE

from adapters.registry import DIALECTS
from gateway.config import Config, Listener
from gateway.control import Control, is_loopback
from gateway.handler import Handler
from gateway.keys import KeyRing
from gateway.metrics import Counter
from gateway.models import ModelRegistry
from gateway.routes import RouteTable

log = structlog.get_logger()


SERVER_OPTIONS: Mapping[str, Any] = {
    "access_log": None,  # costs as much as the request; we write one line of our own
    "handler_cancellation": True,  # a handler learns at once that its client left, not at its next write
    "shutdown_timeout": 5,
    "max_line_size": 65_536,  # the defaults refuse long paths and the headers of some proxies
    "max_field_size": 65_536,
}


class NoListener(Exception):
    """Every port of the config is taken."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a listener really listens: its port is known even when the config asked for port 0."""

    host: str
    port: int
    persona: str

    @property
    def url(self) -> str:
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def build_app(
    persona: str, models: ModelRegistry, counter: Counter, config: Config, *, host: str = "127.0.0.1"
) -> web.Application:
    """One listener's application. All of them share the models and the counter. host: where it listens."""
    handler = Handler(
        persona,
        dialects=DIALECTS,
        routes=RouteTable(),
        models=models,
        counter=counter,
        keys=KeyRing({name: key.secret() for name, key in config.keys.items()}),
        log_prompts=config.log.prompts,
        is_local=is_loopback(host),
    )
    app = web.Application(client_max_size=config.limits.max_body_mib * 2**20)
    Control(models).add_to(app)
    app.router.add_route("*", "/{path:.*}", handler.handle)
    app.on_response_prepare.append(_hide_server)
    return app


async def _hide_server(_request: web.Request, response: web.StreamResponse) -> None:
    """A dialect names the server that it speaks for, or none: aiohttp's own name would give us away."""
    if response.headers.get("Server") == SERVER_SOFTWARE:
        del response.headers["Server"]


@asynccontextmanager
async def running(config: Config) -> AsyncIterator[Sequence[Address]]:
    """Raises NoListener. The models load while the listeners are open already."""
    async with AsyncExitStack() as stack:
        sockets = bind(config.listeners)
        for _, sock in sockets:
            stack.callback(sock.close)
        models, counter = ModelRegistry.from_config(config), Counter()
        stack.push_async_callback(models.stop)
        for listener, sock in sockets:
            app = build_app(listener.persona, models, counter, config, host=listener.host)
            runner = web.AppRunner(app, **SERVER_OPTIONS)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.SockSite(runner, sock).start()
        models.start()
        yield [Address(listener.host, sock.getsockname()[1], listener.persona) for listener, sock in sockets]


def bind(listeners: Sequence[Listener]) -> list[tuple[Listener, socket.socket]]:
    """A busy port is a warning and the others go on; none at all raises NoListener."""
    bound = []
    for listener in listeners:
        try:
            bound.append((listener, _bind(listener)))
        except OSError as error:
            reason = "is in use" if error.errno == errno.EADDRINUSE else error.strerror
            log.warning(f"port {listener.port} {reason}: no {listener.persona} listener", host=listener.host)
    if not bound:
        ports = ", ".join(str(listener.port) for listener in listeners)
        raise NoListener(f"no listener could be opened (ports {ports}): free one, or set others under `listeners:`")
    return bound


def _bind(listener: Listener) -> socket.socket:
    family = socket.AF_INET6 if ":" in listener.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((listener.host, listener.port))
        sock.listen(1024)
    except OSError:
        sock.close()
        raise
    return sock
