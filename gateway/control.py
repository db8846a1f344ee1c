"""The gateway's own API, under /gateway/: what an operator asks of it. It speaks no dialect.

Safe by default: it answers this machine alone, and no web page but its own. A page on another site can send a request
here without being let to read the answer, and one whose name was made to point here (DNS rebinding) even reads it: so
the caller's address and the Host must be this machine's, and the Origin, where there is one, the same as the Host.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from aiohttp import web

from adapters.base import Served
from adapters.framing import to_json
from backends.base import BackendState
from backends.errors import DragomanError, Forbidden, InvalidRequest, NotFound, UnknownModel
from gateway.document import ConfigError
from gateway.models import ModelRegistry
from gateway.origins import host_name, is_loopback
from gateway.queue import Ticket
from gateway.reloader import Reloader
from gateway.seen import Clients
from gateway.series import CONTENT_TYPE, exposition
from gateway.traffic import Traffic

PREFIX = "/gateway"
Answer: TypeAlias = Callable[[web.Request], Awaitable[web.Response]]


class Control:
    """Answers on every listener. reloader: None where the config is in no file."""

    def __init__(
        self, models: ModelRegistry, traffic: Traffic, clients: Clients, reloader: Reloader | None = None
    ) -> None:
        self._models = models
        self._traffic = traffic
        self._clients = clients
        self._reloader = reloader
        self.routes: Mapping[tuple[str, str], Answer] = {
            ("POST", f"{PREFIX}/reload"): self._reload,
            ("GET", f"{PREFIX}/clients"): self._list_clients,
            ("GET", f"{PREFIX}/queue"): self._queue,
            ("GET", f"{PREFIX}/metrics"): self._metrics,
            ("GET", f"{PREFIX}/models"): self._list_models,
            ("GET", f"{PREFIX}/models/{{model:.+}}/log"): self._log,
        }

    def add_to(self, app: web.Application) -> None:
        for (method, path), answer in self.routes.items():
            app.router.add_route(method, path, _guarded(answer))
        app.router.add_route("*", PREFIX + "/{path:.*}", _guarded(self._unknown))

    async def _unknown(self, request: web.Request) -> web.Response:
        known = ", ".join(f"{method} {path}" for method, path in self.routes)
        raise NotFound(f"there is no {request.method} {request.path} here, but {known}".replace(":.+", ""))

    async def _reload(self, _request: web.Request) -> web.Response:
        if self._reloader is None:
            raise NotFound("the config is in no file that could be read again")
        try:
            return reply(dataclasses.asdict(await self._reloader.reload()))
        except ConfigError as error:
            raise InvalidRequest(str(error)) from None

    async def _queue(self, _request: web.Request) -> web.Response:
        """Everybody who waits or is being answered, in the order in which they came."""
        tickets = self._traffic.queue.tickets
        return reply({"requests": [self._told(ticket) for ticket in tickets]})

    def _told(self, ticket: Ticket) -> dict[str, Any]:
        served = self._models.find(ticket.model)
        ready_in_s = self._models.ready_in_s(served) if served else None
        standing = self._traffic.queue.standing(ticket, lambda: len(served.backend.slots) if served else 0, ready_in_s)
        is_loading = served is not None and served.backend.state is BackendState.STARTING
        return {
            "id": ticket.request_id,
            "client": ticket.client,
            "model": ticket.model,
            "route": ticket.route,
            "intent": ticket.intent.name.lower(),
            "state": "working" if ticket.began is not None else "loading" if is_loading else "waiting",
            "position": standing.position,
            "estimate_s": standing.estimate_s,
            "since_s": round(time.monotonic() - ticket.entered, 3),
            "tokens": ticket.num_tokens,
            "others_share": round(self._traffic.queue.others_share(ticket), 3),
        }

    async def _metrics(self, _request: web.Request) -> web.Response:
        text = exposition(self._traffic, (served.name for served in self._models.all()))
        return web.Response(body=text.encode(), headers={"Content-Type": CONTENT_TYPE})

    async def _list_clients(self, _request: web.Request) -> web.Response:
        """The most recent first."""
        return reply({"clients": [seen.to_json() for seen in self._clients.all()]})

    async def _list_models(self, _request: web.Request) -> web.Response:
        return reply({"models": [_described(served) for served in self._models.all()]})

    async def _log(self, request: web.Request) -> web.Response:
        """What a worker of ours wrote last, as text."""
        name = request.match_info["model"]
        served = self._models.find(name)
        if served is None:
            raise UnknownModel(name)
        return web.Response(text="".join(f"{line}\n" for line in served.backend.log))


def reply(value: Any, status: int = 200) -> web.Response:
    return web.Response(body=to_json(value), status=status, content_type="application/json")


def _described(served: Served) -> dict[str, Any]:
    backend = served.backend
    return {"name": served.name, "aliases": served.aliases, "state": backend.state.value, "phase": backend.phase}


def _guarded(answer: Answer) -> Answer:
    async def answer_if_safe(request: web.Request) -> web.Response:
        try:
            if found := danger(request.remote, request.headers):
                raise Forbidden(found)
            return await answer(request)
        except DragomanError as error:
            return reply({"error": {"message": error.message, "code": error.code}}, error.status)

    return answer_if_safe


def danger(remote: str | None, headers: Mapping[str, str]) -> str | None:
    """Why this caller isn't answered, or None. remote: its address."""
    if not is_loopback(remote or ""):
        return f"{PREFIX} answers this machine alone"
    host = headers.get("Host", "")
    if not is_loopback(host_name(host)):
        return f"{PREFIX} is asked for by the name localhost or its address"
    origin = headers.get("Origin", f"http://{host}")
    return None if origin == f"http://{host}" else f"{PREFIX} answers no page of another site"
