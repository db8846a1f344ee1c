"""What one client may have, held to: places, tokens and models. The policy is quota.py's; here are waiters and a clock.

It stands where a client's verbs ask for models, so that nothing uses a model without it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TypeAlias

from adapters.base import Models, Served
from backends.base import Backend
from backends.errors import Forbidden
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
            num_tokens = usage.prompt_tokens - usage.cached_tokens + usage.completion_tokens
            self._book.spend(client_id, num_tokens, self._clock())


class ClientModels:
    """An adapters.base.Models as one client may use it."""

    def __init__(self, models: Models, allowances: Allowances, client_id: str, quota: Quota) -> None:
        self._models = models
        self._allowances = allowances
        self._client_id = client_id
        self._quota = quota

    def all(self) -> Sequence[Served]:
        return [served for served in self._models.all() if self._may_use(served)]

    def resolve(self, name: str | None) -> Served:
        """Also raises Forbidden. Where any name is taken, the client's first model stands in for a missing one."""
        served = self._models.resolve(name)
        if self._may_use(served):
            return served
        mine = self.all()
        if mine and (not name or self._models.find(name) is None):
            return mine[0]
        raise Forbidden(f"this client may not use the model '{served.name}'", param="model")

    def find(self, name: str) -> Served | None:
        served = self._models.find(name)
        return served if served is not None and self._may_use(served) else None

    @contextlib.asynccontextmanager
    async def acquire(self, served: Served) -> AsyncIterator[Backend]:
        async with self._allowances.place(self._client_id, self._quota), self._models.acquire(served) as backend:
            yield backend

    def keep_alive(self, served: Served, seconds: float) -> None:
        self._models.keep_alive(served, seconds)

    def expires_at(self, served: Served) -> float:
        return self._models.expires_at(served)

    def add_alias(self, served: Served, name: str) -> None:
        self._models.add_alias(served, name)

    def remove_alias(self, name: str) -> None:
        self._models.remove_alias(name)

    def _may_use(self, served: Served) -> bool:
        names = self._quota.models
        return names is None or not set(names).isdisjoint((served.name, *served.aliases))


def quota_of(client: Client, everybody: Quota, keys: Mapping[str, Key]) -> Quota:
    """What a key's own limits say stands in place of what everybody's say."""
    key = keys.get(client.key) if client.key is not None else None
    return everybody if key is None else everybody.model_copy(update=key.limits.model_dump(exclude_unset=True))


def bound_length(request: GenerateRequest, quota: Quota) -> None:
    """Longer answers are cut to what the client may have, as they are to the model's window."""
    if quota.max_tokens is not None:
        wanted = quota.max_tokens if request.max_tokens is None else request.max_tokens
        request.max_tokens = min(wanted, quota.max_tokens)
