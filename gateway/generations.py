"""All that is being generated: which request begins something, which reads what is there, and which makes another
obsolete.

Requests that must be answered alike share one generation. A completion that continues another of the same client in the
same buffer supersedes it: nobody waits for what stood there some keystrokes ago. Where keystroke after keystroke comes
too fast to be answered, the device isn't given the next one before it has stood for a moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace

from backends.base import Backend
from backends.events import Event, EventStream
from backends.request import GenerateRequest, Intent
from gateway.buffer import buffer_of, is_typed_on
from gateway.generation import Generation, Reader, WhenLeft
from gateway.log import RequestLine

QUICK_S = 0.15
"""Between two keystrokes of somebody who types without looking up, at most. What is held is held for so long."""

FEW_QUICK = 2
"""After so many in a row that were superseded so soon, a keystroke is held."""


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
        self, backend: Backend, request: GenerateRequest, when_left: WhenLeft, line: RequestLine
    ) -> EventStream:
        """Closing it leaves. Raises what the backend raises."""
        buffer = buffer_of(request.prompts[0]) if _is_keystroke(request) else None
        reader = Reader(request.client, buffer, self._clock())
        self._supersede(backend, request, reader)
        generation = self._twin(backend, request)
        if generation is None:
            line.hold_s = QUICK_S if reader.num_quick >= FEW_QUICK else 0.0
            generation = self._begin(backend, request, when_left, line.hold_s)
        else:
            line.shared_with = generation.request.id
        async with contextlib.aclosing(generation.read(reader)) as events:
            async for batch in events:
                request.ignored[:] = generation.request.ignored
                yield batch
        line.superseded_by = reader.superseded_by

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
        """One that gives what this request must be given."""
        if not _is_determined(request):
            return None
        shared = (generation for generation in self._of.get(backend, ()) if generation.is_shared)
        return next((each for each in shared if _are_alike(each.request, request)), None)

    def _begin(self, backend: Backend, request: GenerateRequest, when_left: WhenLeft, hold_s: float) -> Generation:
        generation = Generation(
            request,
            self._held(backend, request, hold_s) if hold_s else backend.generate(request),
            when_left=when_left,
            is_shared=_is_determined(request),
            observe=self._observe,
            over=lambda: self._forget(backend, generation),
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


def _is_keystroke(request: GenerateRequest) -> bool:
    return request.intent is Intent.COMPLETION and len(request.prompts) == 1


def _is_determined(request: GenerateRequest) -> bool:
    """The same request gets the same answer: it is greedy, or says its seed."""
    sampling = request.sampling
    is_greedy = sampling.temperature == 0 and not sampling.temperature_range
    return sampling.seed is not None or (is_greedy and sampling.xtc is None and sampling.mirostat is None)


def _are_alike(one: GenerateRequest, other: GenerateRequest) -> bool:
    """Whoever asks, and under whichever name, but not by whichever key: a server may know it."""
    return replace(one, id="", client="", ignored=[]) == replace(other, id="", client="", ignored=[])
