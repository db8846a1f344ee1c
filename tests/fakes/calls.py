"""A request to a verb, and what it answers, without HTTP."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from multidict import CIMultiDict

from adapters.base import Call, Exchange, Models, Reply, Verb
from backends.errors import DragomanError
from backends.events import EventStream, fold
from tests.fakes.models import CREATED, FakeModels


def call(
    method: str,
    path: str,
    body: object = None,
    *,
    models: Models | None = None,
    persona: str = "openai",
    params: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Call:
    """body: str and bytes are sent as they are, None is empty, anything else becomes JSON."""
    match body:
        case None:
            sent = b""
        case bytes():
            sent = body
        case str():
            sent = body.encode()
        case _:
            sent = orjson.dumps(body)
    return Call(
        id="0" * 32,
        method=method,
        path=path,
        persona=persona,
        models=models or FakeModels.of(),
        body=sent,
        params=params or {},
        query=query or {},
        headers=CIMultiDict(headers or {}),
        received=CREATED,
    )


@dataclass(slots=True)
class Answer:
    """What a verb sent: a whole reply, or the frames of a stream."""

    exchange: Exchange | None = None
    reply: Reply | None = None
    frames: list[bytes] = field(default_factory=list)

    @property
    def json(self) -> Any:
        assert self.reply is not None, "the answer was a stream"
        return orjson.loads(self.reply.body)


async def answer(verb: Verb, asked: Call) -> Answer:
    """Does what the gateway does with a verb, without HTTP. An error before the first event is raised."""
    outcome = await verb(asked)
    if isinstance(outcome, Reply):
        return Answer(reply=outcome)
    events = outcome.served.backend.generate(outcome.request)
    events = asked.tap(events) if asked.tap else events
    if not outcome.streams:
        return Answer(outcome, reply=outcome.reply(await fold(events, outcome.request.n)))
    return Answer(outcome, frames=[frame async for frame in _frames(outcome, events)])


async def _frames(exchange: Exchange, events: EventStream) -> AsyncIterator[bytes]:
    async with contextlib.aclosing(events):
        first = await anext(events)
        try:
            for event in first:
                for frame in exchange.frames(event):
                    yield frame
            async for batch in events:
                for event in batch:
                    for frame in exchange.frames(event):
                        yield frame
            for frame in exchange.tail():
                yield frame
        except DragomanError as error:
            for frame in exchange.failure(error):
                yield frame
