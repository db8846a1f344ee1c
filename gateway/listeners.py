"""The listeners: opened and closed as the config says, each with a handler that can be exchanged while it is open."""

from __future__ import annotations

import asyncio
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

_LEAVE_S = 5.0
"""What is under way when a socket is closed for good has so long to end."""


def server_options(limits: Limits) -> dict[str, Any]:
    """aiohttp's. They are fixed when a listener is opened."""
    header_bytes = limits.max_header_kib * 1024  # its default refuses long paths, and what some proxies add
    return {
        "logger": http_logger(),
        "access_log": None,  # costs as much as the request; we write one line of our own
        "handler_cancellation": True,  # a handler learns at once that its client left, not at its next write
        "shutdown_timeout": _LEAVE_S,
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
        self._answering: set[asyncio.Task[object]] = set()  # the control's answers don't count

    @property
    def address(self) -> Address:
        return Address(self.listener.host, self._sock.getsockname()[1], self.listener.persona)

    async def open(self, control: Control, limits: Limits) -> None:
        runner = self._runner = web.AppRunner(application(self._handle, control), **server_options(limits))
        await runner.setup()
        await web.SockSite(runner, self._sock).start()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a request is handled in no task")
        self._answering.add(task)
        try:
            return await self.handler.handle(request)
        finally:
            self._answering.discard(task)

    async def shut(self) -> None:
        """Nobody comes in any more; who is in has the connection until the answer's end."""
        if self._runner is None or self._runner.server is None:
            return
        for site in list(self._runner.sites):
            await site.stop()
        await asyncio.sleep(0)  # whose request has just come is being answered by now
        self._runner.server.pre_shutdown()

    async def drain(self, within_s: float) -> None:
        """Until every answer has ended; those that haven't by then are cut off."""
        if self._answering:
            _, late = await asyncio.wait(self._answering, timeout=within_s)
            for task in late:
                task.cancel()

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
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def addresses(self) -> Sequence[Address]:
        return [site.address for site in self._sites]

    async def follow(self, wanted: Sequence[Listener], drain_s: float) -> None:
        """Those that are open already stay open, whoever they play from now on. Those that go are shut at once, and
        may end their answers within drain_s; returns when they have."""
        missing, kept, leaving = list(wanted), [], []
        for site in self._sites:
            same = [each for each in missing if (each.host, each.port) == (site.listener.host, site.listener.port)]
            again = next((each for each in same if each == site.listener), same[0] if same else None)
            if again is None:
                leaving.append(site)
                continue
            missing.remove(again)
            site.listener, site.handler.successor = again, self._make(again)
            site.handler = site.handler.successor
            kept.append(site)
        for site in leaving:
            await site.shut()
        opened = [Site(listener, sock, self._make(listener)) for listener, sock in bind(missing)]
        self._sites = kept + opened
        for site in opened:
            await site.open(self._control, self._limits)
        await asyncio.gather(*(site.drain(drain_s) for site in leaving))
        for site in leaving:  # behind our back: who asked for all this there has yet to be answered
            closing = asyncio.create_task(site.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        while self._sites:
            await self._sites.pop().close()
        await asyncio.gather(*self._closing)


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
