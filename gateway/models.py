"""The models of this gateway: names and aliases to backends, and who may use one now.

Implements what adapters ask of models (adapters.base.Models), and follows the config when that changes. Loading and
unloading is each group's affair.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

from adapters.base import Served
from backends.base import Backend, BackendState
from backends.errors import Forbidden, NotReady, UnknownModel
from gateway.building import build_backend
from gateway.changes import Changes, changes_between
from gateway.config import AnyModel, Config
from gateway.generation import WhenLeft
from gateway.group import Group
from gateway.resident import Resident


@dataclass(slots=True, eq=False)
class _Entry:
    resident: Resident
    group: Group
    created: float = field(default_factory=time.time)  # seconds since the epoch


class ModelRegistry:
    """Built from a config and, for each of its models, a backend. build: makes those of models that come later."""

    def __init__(
        self,
        config: Config,
        backends: Mapping[str, Backend],
        build: Callable[[AnyModel], Backend] = build_backend,
    ) -> None:
        self._config = config
        self._build = build
        self._entries: dict[str, _Entry] = {}
        self._names: Mapping[str, str] = {}  # names and aliases of the config → the model's name
        self._added: dict[str, str] = {}  # aliases that clients gave, and forgotten with the process
        self._groups: dict[str, Group] = {}  # by what _group_key says
        for name in config.models:
            self._enter(name, backends[name])
        self._settle()

    @classmethod
    def from_config(cls, config: Config) -> ModelRegistry:
        return cls(config, {name: build_backend(model) for name, model in config.models.items()})

    # what adapters ask

    def all(self) -> Sequence[Served]:
        return [*(self._served(name) for name in self._config.models), *self._adapters().values()]

    def find(self, name: str) -> Served | None:
        short = name.removesuffix(":latest")
        candidates = (names.get(each) for names in (self._names, self._added) for each in (name, short))
        found = next((candidate for candidate in candidates if candidate), name)
        if found in self._config.models:
            return self._served(found)
        adapters = self._adapters()
        return adapters.get(found) or adapters.get(short)

    def resolve(self, name: str | None) -> Served:
        found = self.find(name) if name else None
        if found is None and name and self._config.unknown_model == "refuse":
            raise UnknownModel(name)
        return found or self._served(self._default)

    def acquire(self, served: Served) -> AbstractAsyncContextManager[Backend]:
        """Holds the model for one request, loaded. Raises NotReady or BackendFailed."""
        entry = self._entry(served)
        if entry is None:  # the config let go of it a moment ago
            raise UnknownModel(served.name)
        held = entry.resident.acquire(self._config.limits.load_timeout_s)
        return _adapted(held, served.name) if served.parent else held

    def use(self, served: Served) -> Callable[[], None]:
        """As Resident.use."""
        entry = self._entries.get(served.name)
        return (lambda: None) if entry is None else entry.resident.use()

    def when_left(self, served: Served) -> WhenLeft:
        model = self._config.models.get(served.parent or served.name)
        return "cancel" if model is None else model.when_left

    def keep_alive(self, served: Served, seconds: float) -> None:
        if entry := self._entry(served):
            entry.resident.asked_s = seconds
            entry.resident.changed()

    def expires_at(self, served: Served) -> float:
        entry = self._entry(served)
        if entry is None:
            return time.time()
        resident = entry.resident
        idle_s = 0.0 if resident.num_running else time.monotonic() - resident.idle_since
        return time.time() + resident.hold_s - idle_s

    def ready_in_s(self, served: Served) -> float | None:
        """Seconds until it can answer; None: nothing tells, as where another model must give way first."""
        entry = self._entries.get(served.name)
        if entry is None:
            return None
        backend = entry.resident.backend
        must_wait = backend.state is BackendState.STOPPED and len(entry.group.members) > 1
        return None if must_wait else backend.ready_in_s

    def add_alias(self, served: Served, name: str) -> None:
        if name not in self._names:
            self._added[name] = served.name
        elif self._names[name] != served.name:
            raise Forbidden(f"the name '{name}' stands in the configuration: it can't be given to another model")

    def remove_alias(self, name: str) -> None:
        if name in self._names:
            raise Forbidden(f"the name '{name}' stands in the configuration: it can't be deleted")
        if self._added.pop(name, None) is None:
            raise UnknownModel(name)

    def _served(self, name: str) -> Served:
        entry = self._entries[name]
        aliases = (*self._config.models[name].aliases, *self._added_to(name))
        return Served(name, entry.resident.backend, entry.created, aliases)

    def _adapters(self) -> Mapping[str, Served]:
        """The LoRAs that servers have told of, by name. One that the config names means what it says there, and of two
        alike the first is meant."""
        found: dict[str, Served] = {}
        for owner in self._config.models:
            entry = self._entries[owner]
            for name, backend in entry.resident.backend.adapters.items():
                if name not in self._names and name not in found:
                    found[name] = Served(name, backend, entry.created, (*self._added_to(name),), parent=owner)
        return found

    def _added_to(self, name: str) -> Sequence[str]:
        return [alias for alias, owner in self._added.items() if owner == name]

    def _entry(self, served: Served) -> _Entry | None:
        """A LoRA's is its model's."""
        return self._entries.get(served.parent or served.name)

    @property
    def _default(self) -> str:
        wanted = self._config.default_model
        return self._names[wanted] if wanted else next(iter(self._config.models))

    # life

    def start(self) -> None:
        """Begin to load, in the background: the sockets are open meanwhile."""
        for group in self._groups.values():
            group.start()

    async def stop(self) -> None:
        await asyncio.gather(*(group.stop() for group in self._groups.values()))
        for entry in self._entries.values():  # one that was just being replaced is in no group
            entry.resident.refuse(NotReady("the gateway is stopping"))

    async def follow(self, config: Config) -> Changes:
        """Only what changed is touched. Names and settings hold at once. A model whose options changed finishes what
        it has within `reload.drain_s`, while new requests for it wait for its successor; so does one that had failed.

        Returns once nothing of the old is left; what is new may still be loading. Not to be called twice at a time.
        """
        changes = changes_between(self._config, config, self._failed())
        self._config = config
        leaving = [self._entries.pop(name) for name in changes.removed]
        for name in changes.added:
            self._enter(name, self._build(config.models[name]))
        self._settle()
        self.start()
        await asyncio.gather(*map(self._remove, leaving), *map(self._replace, changes.replaced))
        for key in [key for key, group in self._groups.items() if not group.members]:
            await self._groups.pop(key).stop()
        return changes

    def _failed(self) -> list[str]:
        residents = [entry.resident for entry in self._entries.values()]
        return [it.name for it in residents if it.failure or it.backend.state is BackendState.FAILED]

    def _enter(self, name: str, backend: Backend) -> None:
        resident, model = Resident(name, backend), self._config.models[name]
        group = self._group_of(name)
        self._entries[name] = _Entry(resident, group)
        group.add(resident, loads=model.load == "start")

    async def _remove(self, entry: _Entry) -> None:
        entry.resident.refuse(UnknownModel(entry.resident.name))
        await entry.group.retire(entry.resident, self._config.reload.drain_s)

    async def _replace(self, name: str) -> None:
        entry, model = self._entries[name], self._config.models[name]
        was_wanted = await entry.group.retire(entry.resident, self._config.reload.drain_s)
        entry.resident.become(self._build(model))
        entry.group = self._group_of(name)
        entry.group.add(entry.resident, loads=was_wanted or model.load == "start")
        entry.group.start()

    def _group_of(self, name: str) -> Group:
        """Models with the same word under `exclusive` share one; every other model has its own."""
        word = self._config.models[name].exclusive
        key = f"group {word}" if word else f"model {name}"
        return self._groups.setdefault(key, Group(patience_s=self._config.limits.patience_s))

    def _settle(self) -> None:
        """What the config says of names and of how long models stay."""
        models = self._config.models
        self._names = {name: owner for owner, model in models.items() for name in (*model.aliases, owner)}
        known = {*models, *self._adapters()}
        self._added = {alias: owner for alias, owner in self._added.items() if owner in known}
        for name, model in models.items():
            resident = self._entries[name].resident
            resident.unload_after_s, resident.is_pinned = model.unload_after_s, model.pinned
            resident.changed()
        for group in self._groups.values():
            group.patience_s = self._config.limits.patience_s


@contextlib.asynccontextmanager
async def _adapted(held: AbstractAsyncContextManager[Backend], name: str) -> AsyncIterator[Backend]:
    """A model with its LoRA. Raises UnknownModel when the server has it no more."""
    async with held as backend:
        if name not in backend.adapters:
            raise UnknownModel(name)
        yield backend.adapters[name]
