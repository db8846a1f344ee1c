"""The models as one client may use them: an adapters.base.Models for one call.

It stands where a client's verbs ask for models, so that nothing uses a model without the client's places, and nothing
is evaluated but on its account.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence

from adapters.base import Served
from backends.base import Backend, Embeddings
from backends.errors import Forbidden
from backends.request import EmbedRequest, Intent
from gateway.config import Quota
from gateway.models import ModelRegistry
from gateway.traffic import Traffic


class ClientModels:
    """request_id, client_id, key, intent: of what is embedded."""

    def __init__(
        self,
        models: ModelRegistry,
        traffic: Traffic,
        quota: Quota,
        *,
        request_id: str,
        client_id: str,
        key: str | None,
        intent: Intent,
    ) -> None:
        self._models = models
        self._traffic = traffic
        self._quota = quota
        self._request_id = request_id
        self._client_id = client_id
        self._key = key
        self._intent = intent

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
        place = self._traffic.allowances.place(self._client_id, self._quota)
        async with place, self._models.acquire(served) as backend:
            yield backend

    async def embed(self, served: Served, backend: Backend, inputs: Sequence[str | Sequence[int]]) -> Embeddings:
        request = EmbedRequest(
            id=self._request_id,
            inputs=tuple(inputs),
            intent=self._intent,
            client=self._client_id,
            key=self._key,
        )
        made = await backend.embed(request)
        num_tokens = sum(made.num_tokens)
        self._traffic.queue.note_work(served.name, num_tokens)
        self._traffic.allowances.spend(self._client_id, num_tokens)
        return made

    def keep_alive(self, served: Served, seconds: float) -> None:
        self._models.keep_alive(served, seconds)

    def expires_at(self, served: Served) -> float:
        return self._models.expires_at(served)

    def add_alias(self, served: Served, name: str) -> None:
        self._models.add_alias(served, name)

    def remove_alias(self, name: str) -> None:
        self._models.remove_alias(name)

    def _may_use(self, served: Served) -> bool:
        """Who may use a model may use its LoRAs."""
        names, owner = self._quota.models, self._models.find(served.parent) if served.parent else served
        return names is None or (owner is not None and not set(names).isdisjoint((owner.name, *owner.aliases)))
