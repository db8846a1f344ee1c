"""One generation and its readers: what is generated once may be read by several, and one that leaves stops nobody else.

Owns what becomes of it when the last reader has left. Knows nothing of wire formats: each reader renders for itself.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from typing_extensions import assert_never

from backends.events import Event, EventStream, Finished, Prefilled, Reasoning, Started, Text, Usage
from backends.request import GenerateRequest
from gateway.buffer import Buffer

WhenLeft: TypeAlias = Literal["cancel", "drain", "cache"]
"""When nobody reads any more. cancel: end at once. drain: go on to the end, for a server that takes an abort badly.
cache: go on until the prompt is evaluated, so that the same prompt finds it in the prefix cache the next time."""


@dataclass(slots=True, eq=False)
class Reader:
    """buffer: what is completed, where a newer keystroke may supersede it. superseded_by: the request that has."""

    client: str
    buffer: Buffer | None = None
    superseded_by: str = ""


class Unfinished:
    """What a reader has seen of its choices, so that they can be ended well before their end."""

    def __init__(self, num_choices: int) -> None:
        self._usage: dict[int, Usage | None] = dict.fromkeys(range(num_choices))  # None: not started

    def note(self, events: Iterable[Event]) -> None:
        for event in events:
            self._note(event)

    def _note(self, event: Event) -> None:
        usage = self._usage.get(event.index) or Usage()
        match event:
            case Started():
                self._usage[event.index] = Usage(prompt_tokens=event.prompt_tokens)
            case Prefilled():
                self._usage[event.index] = replace(usage, cached_tokens=event.cached)
            case Text() | Reasoning():
                num_tokens = usage.completion_tokens + len(event.token_ids)
                self._usage[event.index] = replace(usage, completion_tokens=num_tokens)
            case Finished():
                del self._usage[event.index]
            case _:
                pass

    def end(self) -> list[Event]:
        """`length`, for that is what every dialect has for a text that was cut, and every client takes it."""
        events: list[Event] = [Started(index, 0) for index, usage in self._usage.items() if usage is None]
        return events + [Finished(index, "length", usage or Usage()) for index, usage in self._usage.items()]


class Generation:
    """is_shared: another request may read it as well, from its beginning. over: called once it has ended."""

    def __init__(
        self,
        request: GenerateRequest,
        events: EventStream,
        *,
        when_left: WhenLeft,
        is_shared: bool,
        observe: Callable[[Event], None],
        over: Callable[[], None],
    ) -> None:
        self.request = request
        self.readers: list[Reader] = []
        self.is_shared = is_shared
        self._when_left = when_left
        self._observe = observe
        self._over = over
        self._events: list[Event] = []  # all of them where it is shared, else those that weren't read yet
        self._error: Exception | None = None
        self._is_over = False
        self._has_prompt = False  # evaluated: something was generated
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._pump(events), name=f"generation {request.id}")

    async def _pump(self, events: EventStream) -> None:
        try:
            async with contextlib.aclosing(events):
                async for batch in events:
                    self._take(batch)
                    if self._is_of_no_use():
                        break
        except Exception as error:
            self._error = error
        finally:
            self._end()

    def _take(self, batch: Sequence[Event]) -> None:
        for event in batch:
            self._observe(event)
            self._has_prompt = self._has_prompt or not isinstance(event, Started | Prefilled)
        self._events += batch
        self._wake()

    def _end(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._over()
            self._wake()

    def _is_of_no_use(self) -> bool:
        return not self.readers and self._when_left == "cache" and self._has_prompt

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def read(self, reader: Reader) -> EventStream:
        """Closing it leaves. Raises what the backend raised, behind what came before."""
        self.readers.append(reader)
        unfinished, place = Unfinished(self.request.num_choices), 0
        try:
            while True:
                if place < len(self._events):
                    batch = self._events[place:]
                    place = self._read_up_to(len(self._events))
                    unfinished.note(batch)
                    yield batch
                elif self._error is not None:
                    raise self._error
                elif reader.superseded_by and not self._is_over:
                    yield unfinished.end()
                    return
                elif self._is_over:
                    return
                else:
                    await self._news.wait()
        finally:
            self.readers.remove(reader)
            if not self.readers:
                await self._leave()

    def _read_up_to(self, place: int) -> int:
        if self.is_shared:
            return place
        self._events.clear()
        return 0

    def supersede(self, reader: Reader, request_id: str) -> None:
        reader.superseded_by = request_id
        self._wake()

    async def _leave(self) -> None:
        match self._when_left:
            case "cancel":
                await self.stop()
            case "drain":
                pass
            case "cache":
                if self._has_prompt:
                    await self.stop()
            case _:
                assert_never(self._when_left)

    async def stop(self) -> None:
        """The backend is told at once, and has let go when this returns."""
        self._end()
        self._task.cancel()
        await asyncio.wait([self._task])
