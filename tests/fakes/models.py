"""The models of a gateway that doesn't run."""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace

from adapters.base import Served
from backends.base import Backend, BackendState, Embeddings
from backends.errors import Forbidden, UnknownModel
from backends.request import EmbedRequest
from tests.fakes.backend import ScriptedBackend

CREATED = 1_700_000_001.5


@dataclass(slots=True)
class FakeModels:
    """An adapters.base.Models. The first is the default; refuses: unknown names are refused, not sent to it.

    kept_s: what keep_alive was told, by model. added: aliases that were added.
    """

    served: Sequence[Served]
    refuses: bool = False
    kept_s: dict[str, float] = field(default_factory=dict)
    added: dict[str, Served] = field(default_factory=dict)

    @classmethod
    def of(cls, backend: ScriptedBackend | None = None, *, name: str = "demo", refuses: bool = False) -> FakeModels:
        """One model, which also answers to `gpt-3.5-turbo`."""
        return cls([Served(name, backend or ScriptedBackend(), CREATED, ("gpt-3.5-turbo",))], refuses)

    def all(self) -> Sequence[Served]:
        return [replace(model, aliases=(*model.aliases, *self._added_to(model))) for model in self.served]

    def resolve(self, name: str | None) -> Served:
        found = self.find(name) if name else self.served[0]
        if found is None and self.refuses and name:
            raise UnknownModel(name)
        return found or self.served[0]

    def find(self, name: str) -> Served | None:
        wanted = {name, name.removesuffix(":latest")}
        added = (model for alias, model in self.added.items() if alias in wanted)
        return next(added, self._configured(wanted))

    @contextlib.asynccontextmanager
    async def acquire(self, served: Served) -> AsyncIterator[Backend]:
        if served.backend.state is not BackendState.READY:
            await served.backend.start()
        yield served.backend

    async def embed(self, served: Served, backend: Backend, inputs: Sequence[str | Sequence[int]]) -> Embeddings:
        return await backend.embed(EmbedRequest(id=served.name, inputs=tuple(inputs)))

    def keep_alive(self, served: Served, seconds: float) -> None:
        self.kept_s[served.name] = seconds

    def expires_at(self, served: Served) -> float:
        return CREATED + self.kept_s.get(served.name, math.inf)

    def add_alias(self, served: Served, name: str) -> None:
        if self._configured({name}):
            raise Forbidden(f"'{name}' is a configured name")
        self.added[name] = served

    def remove_alias(self, name: str) -> None:
        if self._configured({name}):
            raise Forbidden(f"'{name}' is a configured name")
        if name not in self.added:
            raise UnknownModel(name)
        del self.added[name]

    def _added_to(self, model: Served) -> list[str]:
        return [name for name, other in self.added.items() if other.name == model.name]

    def _configured(self, names: set[str]) -> Served | None:
        return next((model for model in self.served if names & {model.name, *model.aliases}), None)
