"""The listeners: opened and closed as the config says, each with a handler that can be exchanged while it is open."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from aiohttp import web
from aiohttp.http import SERVER_SOFTWARE

from gateway.config import Limits, Listener
from gateway.control import Control
from gateway.handler import Handler
from gateway.log import http_logger

log = structlog.get_logger()


def server_options(limits: Limits) -> dict[str, Any]:
    """aiohttp's. They are fixed when a listener is opened."""
    header_bytes = limits.max_header_kib * 1024  # its default refuses long paths, and what some proxies add
    return {
        "logger": http_logger(),
        "access_log": None,  # costs as much as the request; we write one line of our own
        "handler_cancellation": True,  # a handler learns at once that its client left, not at its next write
        "shutdown_timeout": 5,
        "max_line_size": header_bytes,
        "max_field_size": header_bytes,
        "keepalive_timeout": limits.idle_connection_s,
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


class Site:
    """One open socket. handler: who answers there from now on."""

    def __init__(self, listener: Listener, sock: socket.socket, handler: Handler) -> None:
        self.listener = listener
        self.handler = handler
        self._sock = sock
        self._runner: web.AppRunner | None = None

    @property
    def address(self) -> Address:
        return Address(self.listener.host, self._sock.getsockname()[1], self.listener.persona)

    async def open(self, control: Control, limits: Limits) -> None:
        runner = self._runner = web.AppRunner(application(self._handle, control), **server_options(limits))
        await runner.setup()
        await web.SockSite(runner, self._sock).start()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        return await self.handler.handle(request)

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        self._sock.close()


class Listeners:
    """make: the handler of a listener, as the config is now. limits: those of connections."""

    def __init__(self, make: Callable[[Listener], Handler], control: Control, limits: Limits) -> None:
        self._make = make
        self._control = control
        self._limits = limits
        self._sites: list[Site] = []

    @property
    def addresses(self) -> Sequence[Address]:
        return [site.address for site in self._sites]

    async def follow(self, wanted: Sequence[Listener]) -> None:
        """Those that are open already stay open, whoever they play from now on."""
        missing, kept = list(wanted), []
        for site in self._sites:
            same = [each for each in missing if (each.host, each.port) == (site.listener.host, site.listener.port)]
            again = next((each for each in same if each == site.listener), same[0] if same else None)
            if again is None:
                await site.close()
                continue
            missing.remove(again)
            site.listener, site.handler.successor = again, self._make(again)
            site.handler = site.handler.successor
            kept.append(site)
        self._sites = kept
        opened = [Site(listener, sock, self._make(listener)) for listener, sock in bind(missing)]
        self._sites += opened
        for site in opened:
            await site.open(self._control, self._limits)

    async def close(self) -> None:
        while self._sites:
            await self._sites.pop().close()


def application(handle: Callable[[web.Request], Any], control: Control) -> web.Application:
    """One listener's application. The size of a body is the handler's affair."""
    app = web.Application(client_max_size=0)
    control.add_to(app)
    app.router.add_route("*", "/{path:.*}", handle)
    app.on_response_prepare.append(_hide_server)
    return app


async def _hide_server(_request: web.Request, response: web.StreamResponse) -> None:
    """A dialect names the server that it speaks for, or none: aiohttp's own name would give us away."""
    if response.headers.get("Server") == SERVER_SOFTWARE:
        del response.headers["Server"]


def bind(listeners: Sequence[Listener]) -> list[tuple[Listener, socket.socket]]:
    """A busy port is a warning and the others go on."""
    bound = []
    for listener in listeners:
        try:
            bound.append((listener, _bind(listener)))
        except OSError as error:
            reason = "is in use" if error.errno == errno.EADDRINUSE else error.strerror
            log.warning(f"port {listener.port} {reason}: no {listener.persona} listener", host=listener.host)
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
