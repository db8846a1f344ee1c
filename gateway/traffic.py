"""What all clients ask of all listeners: what each request is for, and what is being generated."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from adapters.base import Totals
from backends.request import GenerateRequest
from gateway.allowance import Allowances
from gateway.client import Client
from gateway.generations import Generations
from gateway.intent import Verdict, intent_of
from gateway.log import RequestLine
from gateway.metrics import Counter
from gateway.queue import Queue
from gateway.rhythm import Rhythm


class Traffic:
    """One for the whole gateway."""

    def __init__(self) -> None:
        self.counter = Counter()
        self.queue = Queue()
        self.allowances = Allowances()
        self.generations = Generations(self.counter.observe)
        self._rhythm = Rhythm()

    @property
    def totals(self) -> Totals:
        totals = self.counter.totals
        totals.num_waiting = self.queue.num_waiting
        return totals

    @contextlib.contextmanager
    def asking(
        self, request: GenerateRequest, client: Client, overruled: Verdict | None, line: RequestLine
    ) -> Iterator[None]:
        """While the request is being answered. Says in it whose it is, and what for. overruled: what it is for, where
        somebody knows better."""
        pace = self._rhythm.begin(client.id, request.prompts[0], time.monotonic())
        try:
            line.verdict = overruled or intent_of(request, client.agent, pace)
            request.client, request.key, request.intent = client.id, client.foreign_key, line.verdict.intent
            yield
        finally:
            self._rhythm.end(client.id, time.monotonic())
