"""One generation and its readers: what is generated once may be read by several, and one that leaves stops nobody else.

Owns what becomes of it when the last reader has left. Knows nothing of wire formats: each reader renders for itself.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from typing_extensions import assert_never

from backends.errors import TooSlow
from backends.events import Event, EventStream, Finished, Prefilled, Reasoning, Started, Text, Usage
from backends.request import GenerateRequest
from gateway.buffer import Buffer

WhenLeft: TypeAlias = Literal["cancel", "drain", "cache"]
"""When nobody reads any more. cancel: end at once. drain: go on to the end, for a server that takes an abort badly.
cache: go on until the prompt is evaluated, so that the same prompt finds it in the prefix cache the next time."""

MAX_BEHIND = 16_384
"""Events that a reader may be behind: minutes of most models. A client that reads nothing is dropped by time as well
(`unread_s`), but a fast model could fill the memory until then."""


@dataclass(slots=True, eq=False)
class Reader:
    """buffer: what is completed, where a newer keystroke may supersede it. asked_at: in seconds. num_quick: keystrokes
    before it in a row, each of which was superseded at once. superseded_by: the request that has. place: of the
    generation's events, how many it has read of those that are kept. is_dropped: it was too far behind."""

    client: str
    buffer: Buffer | None = None
    asked_at: float = 0.0
    num_quick: int = 0
    superseded_by: str = ""
    place: int = 0
    is_dropped: bool = False


@dataclass(slots=True)
class _Seen:
    """In tokens."""

    prompt: int
    cached: int = 0
    completion: int = 0


class Unfinished:
    """What a reader has seen of its choices, so that they can be ended well before their end."""

    def __init__(self, num_choices: int) -> None:
        self._seen: dict[int, _Seen | None] = dict.fromkeys(range(num_choices))  # None: not started

    def note(self, events: Iterable[Event]) -> None:
        for event in events:
            self._note(event)

    def _note(self, event: Event) -> None:
        match event:
            case Started():
                self._seen[event.index] = _Seen(event.prompt_tokens)
            case Finished():
                del self._seen[event.index]
            case _:
                seen = self._seen.get(event.index)
                if seen is not None:
                    _count(seen, event)

    def end(self) -> list[Event]:
        """`length`, for that is what every dialect has for a text that was cut, and every client takes it."""
        events: list[Event] = [Started(index, 0) for index, seen in self._seen.items() if seen is None]
        return events + [Finished(index, "length", _usage(seen)) for index, seen in self._seen.items()]


def _count(seen: _Seen, event: Event) -> None:
    match event:
        case Text() | Reasoning():
            seen.completion += len(event.token_ids)
        case Prefilled():
            seen.cached = event.cached
        case _:
            pass


def _usage(seen: _Seen | None) -> Usage:
    return Usage() if seen is None else Usage(seen.prompt, seen.completion, seen.cached)


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
        self._waiting: list[asyncio.Future[None]] = []  # readers, for news
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
        self._drop_slow_readers()
        self._wake()

    def _drop_slow_readers(self) -> None:
        """Each learns of it as soon as it looks. What nobody will read isn't kept."""
        if len(self._events) <= MAX_BEHIND and self.readers:
            return
        for reader in self.readers.copy():
            if len(self._events) - reader.place > MAX_BEHIND:
                reader.is_dropped = True
                self.readers.remove(reader)
        if not self.readers and not self.is_shared:
            self._events.clear()

    def _end(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._over()
            self._wake()

    def _is_of_no_use(self) -> bool:
        if self.readers:
            return False
        match self._when_left:
            case "cancel":
                return True
            case "drain":
                return False
            case "cache":
                return self._has_prompt
            case _:
                assert_never(self._when_left)

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def _news(self) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        await future

    async def read(self, reader: Reader) -> EventStream:
        """Closing it leaves. Raises what the backend raised, behind what came before, and TooSlow when it was
        dropped."""
        self.readers.append(reader)
        self._share_costs()
        unfinished = Unfinished(self.request.num_choices) if reader.buffer else None  # nothing else is superseded
        try:
            while True:
                if reader.is_dropped:
                    raise TooSlow(f"the answer is more than {MAX_BEHIND} tokens ahead of its reader")
                elif reader.place < len(self._events):
                    batch = self._read(reader)
                    if unfinished:
                        unfinished.note(batch)
                    yield batch
                elif self._error is not None:
                    raise self._error
                elif unfinished and reader.superseded_by and not self._is_over:
                    yield unfinished.end()
                    return
                elif self._is_over:
                    return
                else:
                    await self._news()
        finally:
            await self._leave(reader)

    def _read(self, reader: Reader) -> list[Event]:
        batch = self._events[reader.place :]
        if self.is_shared:
            reader.place = len(self._events)
        else:
            self._events.clear()
        return batch

    async def _leave(self, reader: Reader) -> None:
        if not reader.is_dropped:
            self.readers.remove(reader)
        self._share_costs()
        if self._is_of_no_use():
            await self.stop()

    def _share_costs(self) -> None:
        clients = sorted({reader.client for reader in self.readers})
        self.request.paid_by[:] = [] if clients == [self.request.client] else clients

    def supersede(self, reader: Reader, request_id: str) -> None:
        reader.superseded_by = request_id
        self._wake()

    async def stop(self) -> None:
        """The backend is told at once, and has let go when this returns."""
        self._end()
        if not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])
