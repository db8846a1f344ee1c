"""The models of this gateway: names and aliases to backends, and who may use one now.

Implements what adapters ask of models (adapters.base.Models). Loading and unloading is each group's affair.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

from adapters.base import Served
from backends.base import Backend
from backends.errors import Forbidden, UnknownModel
from gateway.building import build_backend
from gateway.config import Config
from gateway.group import Group, Resident


class ModelRegistry:
    """Built from a config and, for each of its models, a backend."""

    def __init__(self, config: Config, backends: Mapping[str, Backend]) -> None:
        now = time.time()
        self._served = [Served(name, backends[name], now, model.aliases) for name, model in config.models.items()]
        self._names = {name: served for served in self._served for name in (*served.aliases, served.name)}
        self._added: dict[str, Served] = {}  # aliases that clients gave, and forgotten with the process
        self._configured = frozenset(self._names)
        self._default = self._names[config.default_model or self._served[0].name]
        self._unknown_goes_to_default = config.unknown_model == "default"
        self._residents = {
            name: Resident(name, backends[name], model.unload_after_s) for name, model in config.models.items()
        }
        self._groups = self._grouped(config)

    @classmethod
    def from_config(cls, config: Config) -> ModelRegistry:
        return cls(config, {name: build_backend(model) for name, model in config.models.items()})

    def _grouped(self, config: Config) -> dict[str, tuple[Group, Resident | None]]:
        """For each model its group, and which member that loads at the start (the first, of several)."""
        members: dict[str, list[str]] = {}
        for name, model in config.models.items():
            members.setdefault(f"group {model.exclusive}" if model.exclusive else f"model {name}", []).append(name)
        groups: dict[str, tuple[Group, Resident | None]] = {}
        for names in members.values():
            group = Group(
                [self._residents[name] for name in names],
                patience_s=config.limits.patience_s,
                load_timeout_s=config.limits.load_timeout_s,
            )
            first = next((self._residents[name] for name in names if config.models[name].load == "start"), None)
            groups |= dict.fromkeys(names, (group, first))
        return groups

    def all(self) -> Sequence[Served]:
        return [replace(served, aliases=(*served.aliases, *self._added_to(served))) for served in self._served]

    def find(self, name: str) -> Served | None:
        short = name.removesuffix(":latest")
        return self._names.get(name) or self._names.get(short) or self._added.get(name) or self._added.get(short)

    def resolve(self, name: str | None) -> Served:
        if not name:
            return self._default
        found = self.find(name)
        if found is None and not self._unknown_goes_to_default:
            raise UnknownModel(name)
        return found or self._default

    def acquire(self, served: Served) -> AbstractAsyncContextManager[Backend]:
        """Holds the model for one request, loaded. Raises NotReady or BackendFailed."""
        group, _ = self._groups[served.name]
        return group.acquire(self._residents[served.name])

    def keep_alive(self, served: Served, seconds: float) -> None:
        group, _ = self._groups[served.name]
        group.keep_alive(self._residents[served.name], seconds)

    def expires_at(self, served: Served) -> float:
        resident = self._residents[served.name]
        idle_s = 0.0 if resident.num_running else time.monotonic() - resident.idle_since
        return time.time() + resident.hold_s - idle_s

    def add_alias(self, served: Served, name: str) -> None:
        if name not in self._names:
            self._added[name] = served
        elif self._names[name].name != served.name:
            raise Forbidden(f"the name '{name}' stands in the configuration: it can't be given to another model")

    def remove_alias(self, name: str) -> None:
        if name in self._names:
            raise Forbidden(f"the name '{name}' stands in the configuration: it can't be deleted")
        if self._added.pop(name, None) is None:
            raise UnknownModel(name)

    def _added_to(self, served: Served) -> list[str]:
        return [name for name, model in self._added.items() if model.name == served.name]

    def start(self) -> None:
        """Begin to load, in the background: the sockets are open meanwhile."""
        for group, first in set(self._groups.values()):
            group.start(first)

    async def stop(self) -> None:
        await asyncio.gather(*(group.stop() for group, _ in set(self._groups.values())))
