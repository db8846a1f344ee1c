"""All that is being generated: which request begins something, which reads what is there, and which makes another
obsolete.

Requests that must be answered alike share one generation; who joined it and was given nothing when it failed asks anew,
as if alone. A completion that continues another of the same client in the same buffer supersedes it: nobody waits for
what stood there some keystrokes ago. Where keystroke after keystroke comes too fast to be answered, the device isn't
given the next one before it has stood for a moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import TypeAlias

from backends.base import Backend, BackendState
from backends.errors import BackendFailed
from backends.events import Event, EventStream, Started
from backends.request import GenerateRequest, Intent
from gateway.buffer import Buffer, buffer_of, is_typed_on
from gateway.generation import Generation, Reader, WhenLeft
from gateway.log import RequestLine

QUICK_S = 0.15
"""Between two keystrokes of somebody who types without looking up, at most. What is held is held for so long."""

FEW_QUICK = 2
"""After so many in a row that were superseded so soon, a keystroke is held."""

Use: TypeAlias = Callable[[], Callable[[], None]]
"""Takes a model into use, and returns how to let go of it."""


class Generations:
    """observe: told each event once, however many read it."""

    def __init__(
        self,
        observe: Callable[[Event], None],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._observe = observe
        self._clock = clock
        self._sleep = sleep
        self._of: dict[Backend, list[Generation]] = {}

    async def read(
        self, backend: Backend, request: GenerateRequest, when_left: WhenLeft, use: Use, line: RequestLine
    ) -> EventStream:
        """Closing it leaves. Raises what the backend raises. use: of the model, for as long as it generates, whoever
        reads."""
        reader = Reader(request.client, _buffer_of(request), self._clock())
        self._supersede(backend, request, reader)

        def begin() -> Generation:
            line.hold_s = QUICK_S if reader.num_quick >= FEW_QUICK else 0.0
            return self._begin(backend, request, when_left, use, line.hold_s)

        twin, has_answer = self._twin(backend, request), False
        generation = twin or begin()
        while True:
            line.shared_with = "" if generation.request is request else generation.request.id
            events = generation.read(reader)
            try:
                async with contextlib.aclosing(_answer_of(events) if twin else events) as news:
                    async for batch in news:
                        has_answer = True
                        request.ignored[:] = generation.request.ignored
                        yield batch
                line.superseded_by = reader.superseded_by
                return
            except BackendFailed:
                if twin is None or has_answer:
                    raise
            twin, generation = None, self._twin(backend, request) or begin()
            reader = replace(reader, place=0)

    def _supersede(self, backend: Backend, request: GenerateRequest, reader: Reader) -> None:
        if reader.buffer is None:
            return
        for generation in self._of.get(backend, ()):
            for other in generation.readers:
                if other.client == reader.client and other.buffer and is_typed_on(other.buffer, reader.buffer):
                    generation.supersede(other, request.id)
                    if reader.asked_at - other.asked_at <= QUICK_S:
                        reader.num_quick = other.num_quick + 1

    def _twin(self, backend: Backend, request: GenerateRequest) -> Generation | None:
        """One that gives what this request must be given. Where the worker has just died there is none: they may be
        lost in the middle."""
        if not _is_determined(request) or backend.state is not BackendState.READY:
            return None
        shared = (generation for generation in self._of.get(backend, ()) if generation.is_shared)
        return next((each for each in shared if _are_alike(each.request, request)), None)

    def _begin(
        self, backend: Backend, request: GenerateRequest, when_left: WhenLeft, use: Use, hold_s: float
    ) -> Generation:
        let_go = use()

        def over() -> None:
            self._forget(backend, generation)
            let_go()

        generation = Generation(
            request,
            self._held(backend, request, hold_s) if hold_s else backend.generate(request),
            when_left=when_left,
            is_shared=_is_determined(request),
            observe=self._observe,
            over=over,
        )
        self._of.setdefault(backend, []).append(generation)
        return generation

    async def _held(self, backend: Backend, request: GenerateRequest, hold_s: float) -> EventStream:
        await self._sleep(hold_s)
        async with contextlib.aclosing(backend.generate(request)) as events:
            async for batch in events:
                yield batch

    def _forget(self, backend: Backend, generation: Generation) -> None:
        self._of[backend].remove(generation)
        if not self._of[backend]:
            del self._of[backend]

    async def stop(self) -> None:
        """Also what nobody reads any more."""
        await asyncio.gather(*(generation.stop() for generation in list(self)))

    def __iter__(self) -> Iterator[Generation]:
        for generations in self._of.values():
            yield from generations


async def _answer_of(events: EventStream) -> EventStream:
    """Its beginning comes with what follows it: who has only the beginning of an answer has nothing of it."""
    beginning: list[Event] | None = []
    async with contextlib.aclosing(events):
        async for batch in events:
            if beginning is None:
                yield batch
                continue
            beginning += batch
            if not all(isinstance(event, Started) for event in batch):
                yield beginning
                beginning = None


def _buffer_of(request: GenerateRequest) -> Buffer | None:
    """None where it is no keystroke."""
    is_keystroke = request.intent is Intent.COMPLETION and len(request.prompts) == 1
    return buffer_of(request.prompts[0]) if is_keystroke else None


def _is_determined(request: GenerateRequest) -> bool:
    """The same request gets the same answer: it is greedy, or says its seed."""
    sampling = request.sampling
    is_greedy = sampling.temperature == 0 and not sampling.temperature_range
    return sampling.seed is not None or (is_greedy and sampling.xtc is None and sampling.mirostat is None)


def _are_alike(one: GenerateRequest, other: GenerateRequest) -> bool:
    """Whoever asks, and under whichever name, but not by whichever key: a server may know it."""
    if one.prompts != other.prompts or one.sampling != other.sampling:  # mostly, and soon known
        return False
    return replace(one, id="", client="", paid_by=[], ignored=[]) == replace(
        other, id="", client="", paid_by=[], ignored=[]
    )
