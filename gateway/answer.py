"""The answer to a request that generates, from its place in the queue to its last byte.

Every part of a gateway has its say in it: models and generations give the events, the exchange makes bytes of them, the
channel carries these, and the log line, the queue and the client's account are told what came.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from aiohttp import web

from adapters.base import Call, Dialect, Exchange
from backends.events import Completion, EventStream
from gateway.channel import Channel
from gateway.config import Limits
from gateway.log import RequestLine
from gateway.models import ModelRegistry
from gateway.queue import Ticket
from gateway.responses import common_headers, respond, told
from gateway.stream import stream
from gateway.traffic import Traffic


@dataclass(frozen=True, slots=True)
class Answer:
    """models, traffic, limits: the gateway's. The rest is the request's own."""

    models: ModelRegistry
    traffic: Traffic
    limits: Limits
    dialect: Dialect
    channel: Channel
    call: Call
    exchange: Exchange
    line: RequestLine

    async def send(self) -> web.StreamResponse:
        """Raises what goes wrong before anything of it is sent."""
        exchange, line, queue = self.exchange, self.line, self.traffic.queue
        line.model, line.streamed = exchange.served.name, exchange.streams
        line.parsed()
        with queue.ticket(exchange.request, exchange.served.name, line.route) as ticket:
            try:
                async with contextlib.aclosing(self._events(ticket)) as events:
                    return await (self._stream(events) if exchange.streams else self._whole(events))
            finally:
                line.others_share = queue.others_share(ticket)

    async def _whole(self, events: EventStream) -> web.Response:
        completion = Completion(self.exchange.request.n)
        async for batch in events:
            for event in batch:
                completion.add(event)
        self._note_ignored()
        return respond(self.exchange.reply(completion), self.dialect, self.call)

    async def _stream(self, events: EventStream) -> web.StreamResponse:
        limits = self.limits
        return await stream(
            self.channel,
            self._headers,
            self.exchange,
            events,
            self.line,
            headers_s=limits.headers_s,
            unread_s=limits.unread_s,
        )

    def _headers(self) -> Mapping[str, str]:
        """Of a stream, as they are when it begins."""
        self._note_ignored()
        exchange = self.exchange
        headers = {**common_headers(self.dialect, self.call), **exchange.headers, **told(self.line)}
        return {**headers, "Content-Type": exchange.content_type}

    def _note_ignored(self) -> None:
        """A backend says so by its first event."""
        self.call.ignored += self.exchange.request.ignored

    async def _events(self, ticket: Ticket) -> EventStream:
        """All of them, once the model is loaded. Closing leaves the generation: it ends, unless others read it."""
        asked, served, line, traffic = self.exchange.request, self.exchange.served, self.line, self.traffic
        ready_in_s = self.models.ready_in_s(served)
        line.standing = traffic.queue.standing(ticket, lambda: len(served.backend.slots), ready_in_s)
        async with self.call.models.acquire(served) as backend:
            line.loaded()
            when_left, use = self.models.when_left(served), partial(self.models.use, served)
            generation = traffic.generations.read(backend, asked, when_left, use, line)
            tap = self.call.tap
            async with contextlib.aclosing(tap(generation) if tap else generation) as events:
                async for batch in events:
                    for event in batch:
                        line.observe(event)
                        traffic.queue.observe(ticket, event)
                        traffic.allowances.observe(asked.client, event)
                    yield batch
