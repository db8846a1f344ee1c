"""Answers in the making, which other requests may look at and end: KoboldCpp's polled streaming and its abort, and
text-generation-webui's stop.

Who asks for an answer owns it, and may name it; the newest of a name is meant, and "" is a name like any other. Knows
nothing of the wire.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import TypeAlias

from adapters.base import Call
from backends.events import CompletedChoice, Completion, Event, EventStream, Finished, Started, Usage

_MAX_REMEMBERED = 256  # names

Name: TypeAlias = tuple[str, str]
"""The owner, and what it calls the answer."""


class Generation:
    """One answer, whole or in the making. seed: that its first choice was drawn with, where the client gave one."""

    def __init__(self, n: int, seed: int | None) -> None:
        self.completion = Completion(n)
        self.seed = seed
        self._ended = asyncio.Event()

    @property
    def first(self) -> CompletedChoice | None:
        return self.completion.choices.get(0)

    @property
    def text(self) -> str:
        return self.first.text if self.first else ""

    @property
    def is_running(self) -> bool:
        return not self._ended.is_set()

    def end(self) -> None:
        self._ended.set()

    async def watch(self, events: EventStream) -> EventStream:
        """The same events, until the answer is ended from elsewhere: then what there is counts as the whole."""
        ended = asyncio.create_task(self._ended.wait())
        try:
            async with contextlib.aclosing(events):
                while (batch := await _next_unless(ended, events)) is not None:
                    self._note(batch)
                    yield batch
                if ended.done():
                    missing = self._missing_ends()
                    self._note(missing)
                    yield missing
        finally:
            self._ended.set()
            ended.cancel()

    def _note(self, events: Sequence[Event]) -> None:
        for event in events:
            self.completion.add(event)

    def _missing_ends(self) -> list[Event]:
        """Nothing may have begun yet."""
        missing: list[Event] = []
        for index in range(self.completion.n):
            choice = self.completion.choices.get(index)
            if choice is None:
                missing += [Started(index, 0), Finished(index, "length")]
            elif choice.finished is None:
                usage = Usage(choice.started.prompt_tokens, len(choice.token_ids))
                missing.append(Finished(index, "length", usage))
        return missing


async def _next_unless(ended: asyncio.Task[bool], events: EventStream) -> Sequence[Event] | None:
    """The next batch; None after the last, or when `ended` is done before it comes."""

    async def read() -> Sequence[Event] | None:
        return await anext(events, None)

    reading = asyncio.create_task(read())
    try:
        await asyncio.wait({reading, ended}, return_when=asyncio.FIRST_COMPLETED)
        return reading.result() if reading.done() else None
    finally:
        if not reading.done():
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reading


class Generations:
    """Those of a whole gateway."""

    def __init__(self) -> None:
        self._by_name: dict[Name, Generation] = {}
        self.total = 0
        self.last: Generation | None = None

    def begin(self, name: Name, n: int, seed: int | None) -> Generation:
        generation = Generation(n, seed)
        self._by_name.pop(name, None)
        self._by_name[name] = self.last = generation
        self.total += 1
        if len(self._by_name) > _MAX_REMEMBERED:
            del self._by_name[next(iter(self._by_name))]
        return generation

    def find(self, name: Name) -> Generation | None:
        return self._by_name.get(name)

    def end_all(self, owner: str) -> None:
        for (whose, _), generation in self._by_name.items():
            if whose == owner:
                generation.end()

    @property
    def is_idle(self) -> bool:
        return not any(generation.is_running for generation in self._by_name.values())


def owner_of(call: Call) -> str:
    """Where clients have keys, one can't see or end another's answers; without keys all of them are one."""
    return call.headers.get("Authorization", "")
