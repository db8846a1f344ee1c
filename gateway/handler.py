"""The only request handler: find the verb → let the adapter parse → answer.

Owns the order of things and nothing else: how to fail is the dialect's affair, what a verb means the adapter's, when
a token comes the backend's.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import Iterator, Mapping

import structlog
from aiohttp import web

from adapters.base import Call, Dialect, Reply
from backends.errors import DragomanError, ForeignPage, MissingKey, WrongKey
from backends.request import Intent
from gateway.allowance import bound_length, quota_of
from gateway.answer import Answer
from gateway.bounds import check_images, check_request
from gateway.channel import Channel, Http, Message
from gateway.client import Client, identify
from gateway.client_models import ClientModels
from gateway.config import Access, Key, Limits, Quota
from gateway.conversation import converse
from gateway.intent import Overrides, verdict_of_verb
from gateway.keys import KeyRing, presented_keys
from gateway.log import RequestLine, without_content
from gateway.models import ModelRegistry
from gateway.origins import OriginPolicy
from gateway.responses import common_headers, refuse, respond, told
from gateway.routes import Route
from gateway.routing import Match, RouteTable, Unknown, WrongMethod
from gateway.seen import Clients, mapping
from gateway.traffic import Traffic

log = structlog.get_logger()


class Handler:
    """Answers every request of one listener. successor: who answers there since the config was read anew."""

    successor: Handler | None = None

    def __init__(
        self,
        persona: str,
        *,
        dialects: Mapping[str, Dialect],
        routes: RouteTable,
        models: ModelRegistry,
        traffic: Traffic,
        overrides: Overrides,
        keys: Mapping[str, Key],
        clients: Clients,
        access: Access,
        limits: Limits,
        log_prompts: bool,
        origins: OriginPolicy,
    ) -> None:
        self._persona = dialects[persona]
        self._dialects = dialects
        self._routes = routes
        self._models = models
        self._traffic = traffic
        self._overrides = overrides
        self._keys = KeyRing({name: key.secret() for name, key in keys.items()})
        self._key_options = keys
        self._clients = clients
        self._access = access
        self._limits = limits
        self._log_prompts = log_prompts
        self._origins = origins

    async def handle(self, request: web.Request) -> web.StreamResponse:
        response, _ = await self.answer(Http(request))
        return response

    async def answer(self, channel: Channel) -> tuple[web.StreamResponse, str]:
        """And what went wrong, where the answer had begun already."""
        request = channel.request
        client = identify(request.remote, request.headers, request.query, self._keys)
        call = self._call(request, client)
        with self._noted(call, client) as line:
            response = await self._answer(channel, call, client, line)
            line.status = response.status
            if not response.prepared:
                response.headers.update(told(line))
            return response, line.error

    def _call(self, request: web.Request, client: Client) -> Call:
        request_id = uuid.uuid4().hex
        overruled = self._overrides.verdict(str(client), request.headers)
        models = ClientModels(
            self._models,
            self._traffic,
            self._quota_of(client),
            request_id=request_id,
            client_id=client.id,
            key=client.foreign_key,
            intent=Intent.BULK if overruled is None else overruled.intent,
        )
        return Call(
            id=request_id,
            method=request.method,
            path=request.path,
            persona=self._persona.name,
            models=models,
            query=request.query,
            headers=request.headers,
            received=time.time(),
            totals=self._traffic.totals,
        )

    @contextlib.contextmanager
    def _noted(self, call: Call, client: Client) -> Iterator[RequestLine]:
        """Whatever becomes of a request, it is written down."""
        line = RequestLine(call, str(client), self._log_prompts)
        try:
            yield line
        except (ConnectionError, asyncio.CancelledError):
            if not line.status:
                line.status, line.error = 499, line.error or "the client left"
            raise asyncio.CancelledError from None  # aiohttp would log a ConnectionError with its traceback
        finally:
            line.write()
            self._traffic.counter.answers[line.verb.partition(".")[0], line.status] += 1
            route = line.route or f"{call.method} {call.path}"
            self._clients.note(client, route, line.verb, now=call.received, status=line.status, error=line.error,
                               ignored=call.ignored)  # fmt: skip

    async def _answer(self, channel: Channel, call: Call, client: Client, line: RequestLine) -> web.StreamResponse:
        persona = self._persona
        if objection := self._origins.objection(call.headers):
            return refuse(ForeignPage(objection), persona, call)
        call.origin = self._origins.page(call.headers)
        turned_away = persona.admit(call)
        if turned_away is not None:
            return respond(turned_away, persona, call)
        if call.method == "OPTIONS" and (granted := persona.preflight(call)) is not None:
            return respond(granted, persona, call)
        match self._routes.find(call.method, call.path):
            case WrongMethod(allowed):
                return respond(persona.wrong_method(call, allowed), persona, call)
            case Unknown(route):
                return self._lost(call, client, route)
            case Match(route, path, params):
                line.route, call.path, call.params = str(route), path, params
                return await self._perform(channel, call, client, line, route)

    def _lost(self, call: Call, client: Client, route: Route | None) -> web.Response:
        """A route that nobody serves is a lead: somebody wanted something."""
        nearest = str(route) if route else None
        if self._clients.note_unknown(client, call.method, call.path, route, now=call.received):
            log.warning("unknown route", method=call.method, path=call.path, nearest=nearest, client=str(client),
                        config=mapping(call.path, route) if route else None)  # fmt: skip
        response = respond(self._persona.unknown_route(call, nearest), self._persona, call)
        if nearest:
            response.headers["X-Dragoman-Nearest"] = nearest
        return response

    async def _perform(
        self, channel: Channel, call: Call, client: Client, line: RequestLine, route: Route
    ) -> web.StreamResponse:
        dialect, verb = self._meant(route, call, line)
        try:
            self._require_key(call, client, is_public=verb in dialect.public)
            if verb in dialect.sockets and not isinstance(channel, Message):
                return await self._converse(channel.request, call, line, dialect)
            call.body = await channel.body(self._limits)  # not before we know who it is: it may be large
            dialect, verb = self._meant(route, call, line)  # it may tell that another family's client is asking
            self._require_key(call, client, is_public=verb in dialect.public)
            outcome = await dialect.verbs[verb](call)
            overruled = self._overrides.verdict(str(client), call.headers)
            if isinstance(outcome, Reply):
                line.verdict = verdict_of_verb(line.verb, overruled)
                return respond(outcome, dialect, call)
            if self._access.image_urls == "refuse":
                check_images(outcome.request)
            check_request(outcome.request, self._limits, call.body)
            bound_length(outcome.request, self._quota_of(client))
            with self._traffic.asking(outcome.request, client, overruled, line):
                answer = Answer(self._models, self._traffic, self._limits, dialect, channel, call, outcome, line)
                return await answer.send()
        except DragomanError as error:
            line.error = error.message if self._log_prompts else without_content(error)
            return refuse(error, dialect, call)
        except ConnectionError:
            raise
        except Exception:
            log.exception("bug", id=call.id, route=line.route)
            line.error = "the gateway failed: see its log"
            return refuse(DragomanError(line.error), dialect, call)

    async def _converse(
        self, request: web.Request, call: Call, opened: RequestLine, dialect: Dialect
    ) -> web.StreamResponse:
        """Each message is a request of its own, with a line of its own, and answered as the config then says: it may
        have been read anew. To whoever opens no socket there is nothing."""
        socket = web.WebSocketResponse(max_msg_size=self._limits.max_body_mib * 2**20, compress=False)
        if not socket.can_prepare(request):
            return respond(self._persona.unknown_route(call, None), self._persona, call)
        socket.headers.update(common_headers(dialect, call))
        await socket.prepare(request)
        opened.status = socket.status  # whoever closes it, and however

        async def answer(body: bytes) -> str:
            response, error = await self._latest.answer(Message(request, socket, body))
            return response.text or "" if isinstance(response, web.Response) else error

        await converse(socket, answer)
        return socket

    @property
    def _latest(self) -> Handler:
        return self if self.successor is None else self.successor._latest

    def _meant(self, route: Route, call: Call, line: RequestLine) -> tuple[Dialect, str]:
        line.verb = route.verb_for(call)
        dialect, _, verb = line.verb.partition(".")
        return self._dialects[dialect], verb

    def _require_key(self, call: Call, client: Client, *, is_public: bool) -> None:
        """Raises Unauthorized where the config has keys."""
        if self._keys and client.key is None and not is_public:
            raise WrongKey if any(presented_keys(call.headers, call.query)) else MissingKey

    def _quota_of(self, client: Client) -> Quota:
        return quota_of(client, self._limits.client, self._key_options)
