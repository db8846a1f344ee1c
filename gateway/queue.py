"""Who waits and who is answered, at every moment, and how much of the device each had.

Decides nothing: whose turn it is, is the backend's affair. The clock is passed in.

A request waits until there is a first sign of work on it. Its position is that among those who wait for the same model,
as the device is shared: by class first. With a free place for everyone ahead of it, it waits for nobody: position 0.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from typing_extensions import assert_never

from backends.events import (
    Event,
    Finished,
    Prefilled,
    Reasoning,
    Started,
    Text,
    ToolCallArguments,
    ToolCallStarted,
)
from backends.request import GenerateRequest, Intent

_WEIGHT = 0.2
"""Of the latest answer in the mean: what an answer takes follows what is being asked of late."""


@dataclass(frozen=True, slots=True)
class Standing:
    """position: how many answers begin before this one, and itself; 0: it is being answered, or about to be.
    estimate_s: how long until it begins; None: nothing is known to tell it from."""

    position: int
    estimate_s: float | None


@dataclass(slots=True, eq=False)
class Ticket:
    """One request. number: counted in all that came. entered, began: seconds. num_tokens: evaluated and generated for
    it so far."""

    number: int
    request_id: str
    client: str
    model: str
    route: str
    intent: Intent
    entered: float
    device_tokens: int  # that the model had evaluated and generated for everybody when it came
    began: float | None = None
    num_tokens: int = 0
    num_prefilled: dict[int, int] = field(default_factory=dict)  # by choice

    @property
    def rank(self) -> tuple[Intent, int]:
        return self.intent, self.number


class Queue:
    """One for the whole gateway. clock: seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._tickets: dict[Ticket, None] = {}
        self._num_entered = 0
        self._num_tokens: Counter[str] = Counter()  # by model
        self._answer_s: dict[str, float] = {}  # by model: the mean of late

    @property
    def tickets(self) -> list[Ticket]:
        """In the order in which they came."""
        return list(self._tickets)

    @property
    def num_waiting(self) -> int:
        return sum(ticket.began is None for ticket in self._tickets)

    @contextlib.contextmanager
    def ticket(self, request: GenerateRequest, model: str, route: str) -> Iterator[Ticket]:
        """While the request is being answered."""
        self._num_entered += 1
        ticket = Ticket(
            number=self._num_entered,
            request_id=request.id,
            client=request.client,
            model=model,
            route=route,
            intent=request.intent,
            entered=self._clock(),
            device_tokens=self._num_tokens[model],
        )
        self._tickets[ticket] = None
        try:
            yield ticket
        finally:
            del self._tickets[ticket]
            if ticket.began is not None:
                took_s = self._clock() - ticket.began
                mean_s = self._answer_s.get(model, took_s)
                self._answer_s[model] = mean_s + _WEIGHT * (took_s - mean_s)

    def observe(self, ticket: Ticket, event: Event) -> None:
        num_tokens = _work(ticket, event)
        if num_tokens is None:
            return
        if ticket.began is None:
            ticket.began = self._clock()
        ticket.num_tokens += num_tokens
        self._num_tokens[ticket.model] += num_tokens

    def note_work(self, model: str, num_tokens: int) -> None:
        """That was done for somebody who isn't in the queue."""
        self._num_tokens[model] += num_tokens

    def standing(self, ticket: Ticket, count_places: Callable[[], int], ready_in_s: float | None = 0.0) -> Standing:
        """count_places: how many answers the model gives at once; 0: as many as come. ready_in_s: how long it still
        loads, which is all that can be told until then."""
        same = [other for other in self._tickets if other.model == ticket.model]
        num_ahead = sum(other.began is None and other.rank < ticket.rank for other in same)
        if ready_in_s != 0.0 and ticket.began is None:
            return Standing(num_ahead + 1, ready_in_s)
        num_places = count_places() if len(same) > 1 and ticket.began is None else 0
        if num_places == 0:
            return Standing(0, 0.0)
        num_free = max(0, num_places - sum(other.began is not None for other in same))
        position = max(0, num_ahead + 1 - num_free)
        answer_s = self._answer_s.get(ticket.model)
        if position == 0:
            return Standing(0, 0.0)
        return Standing(position, None if answer_s is None else position * answer_s / num_places)

    def others_share(self, ticket: Ticket) -> float:
        """Of all that the model did since the ticket came: the part that was for others, 0 to 1."""
        everybody = self._num_tokens[ticket.model] - ticket.device_tokens
        return (everybody - ticket.num_tokens) / everybody if everybody else 0.0


def _work(ticket: Ticket, event: Event) -> int | None:
    """Tokens that the event stands for; None where it is no sign of work."""
    match event:
        case Started():
            return None
        case Prefilled():
            before = max(ticket.num_prefilled.get(event.index, 0), event.cached)
            ticket.num_prefilled[event.index] = event.processed
            return max(0, event.processed - before)
        case Text() | Reasoning():
            return len(event.token_ids) or 1
        case ToolCallStarted() | ToolCallArguments():
            return 1
        case Finished():
            return 0
        case _:
            assert_never(event)
