"""Counts over all requests since the gateway started: what `/metrics` tells."""

from __future__ import annotations

import collections
import time

from adapters.base import Totals
from backends.events import Event, Finished


class Counter:
    """One for the whole gateway; every listener's requests are counted in it."""

    def __init__(self) -> None:
        self.totals = Totals(since=time.time())
        self.answers: collections.Counter[tuple[str, int]] = collections.Counter()  # by dialect and status

    def observe(self, event: Event) -> None:
        if not isinstance(event, Finished):
            return
        usage, timings, totals = event.usage, event.timings, self.totals
        totals.prompt_tokens += usage.prompt_tokens - usage.cached_tokens
        totals.cached_tokens += usage.cached_tokens
        totals.completion_tokens += usage.completion_tokens
        totals.prefill_s += timings.prefill_s
        totals.decode_s += timings.decode_s
        totals.num_steps += usage.completion_tokens
        totals.longest_sequence = max(totals.longest_sequence, usage.total_tokens)
