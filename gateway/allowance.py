"""What one client may have, held to: places and tokens. The policy is quota.py's; here are waiters and a clock."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TypeAlias

from backends.events import Event, Finished
from backends.request import GenerateRequest
from gateway.client import Client
from gateway.config import Key, Quota
from gateway.quota import QuotaBook

Waiter: TypeAlias = "asyncio.Future[None]"


class Allowances:
    """One for the whole gateway: a client has its places whichever listener it asks. clock: seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._book: QuotaBook[Waiter] = QuotaBook()
        self._clock = clock

    @contextlib.asynccontextmanager
    async def place(self, client_id: str, quota: Quota) -> AsyncIterator[None]:
        """Held while a request is answered. Raises RateLimited."""
        if quota.concurrent is None and quota.tokens_per_minute is None:
            yield
            return
        waiter: Waiter = asyncio.get_running_loop().create_future()
        if self._book.enter(client_id, quota, waiter, self._clock()):
            waiter.set_result(None)
        try:
            await waiter
            yield
        finally:
            self._leave(client_id, waiter)

    def _leave(self, client_id: str, waiter: Waiter) -> None:
        if waiter.cancelled():
            self._book.withdraw(client_id, waiter)
        else:
            heir = self._book.leave(client_id, self._clock())
            if heir is not None:
                heir.set_result(None)

    def observe(self, client_id: str, event: Event) -> None:
        """What an answer costs is known at its end."""
        if isinstance(event, Finished):
            usage = event.usage
            self.spend(client_id, usage.prompt_tokens - usage.cached_tokens + usage.completion_tokens)

    def spend(self, client_id: str, num_tokens: int) -> None:
        self._book.spend(client_id, num_tokens, self._clock())


def quota_of(client: Client, everybody: Quota, keys: Mapping[str, Key]) -> Quota:
    """What a key's own limits say stands in place of what everybody's say."""
    key = keys.get(client.key) if client.key is not None else None
    return everybody if key is None else everybody.model_copy(update=key.limits.model_dump(exclude_unset=True))


def bound_length(request: GenerateRequest, quota: Quota) -> None:
    """Longer answers are cut to what the client may have, as they are to the model's window."""
    if quota.max_tokens is not None:
        wanted = quota.max_tokens if request.max_tokens is None else request.max_tokens
        request.max_tokens = min(wanted, quota.max_tokens)
