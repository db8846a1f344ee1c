"""The running gateway: listeners open first, models load behind them, and both follow the config when it changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from adapters.registry import DIALECTS
from backends.request import Intent
from gateway.changes import Changes
from gateway.config import Config, Listener, Scheduling
from gateway.control import Control
from gateway.handler import Handler
from gateway.intent import Overrides
from gateway.listeners import Address, Listeners, NoListener, application
from gateway.log import configure
from gateway.models import ModelRegistry
from gateway.origins import OriginPolicy, is_loopback
from gateway.reloader import Reloader
from gateway.routing import RouteTable
from gateway.seen import Clients
from gateway.traffic import Traffic


class Gateway:
    """reloader: None where the config is in no file."""

    def __init__(self, config: Config, path: Path | None = None) -> None:
        self.reloader = Reloader(path, self._follow, watches=config.reload.watch) if path else None
        self._config = config
        self._models = ModelRegistry.from_config(config)
        self._traffic = Traffic()
        self._clients = Clients()
        control = Control(self._models, self._traffic, self._clients, self.reloader)
        self._listeners = Listeners(self._handler, control, config.limits)

    @property
    def addresses(self) -> Sequence[Address]:
        return self._listeners.addresses

    async def start(self) -> None:
        """Raises NoListener. The models load while the listeners are open already."""
        await self._listeners.follow(self._config.listeners, drain_s=0.0)
        if not self.addresses:
            ports = ", ".join(str(listener.port) for listener in self._config.listeners)
            raise NoListener(f"no listener could be opened (ports {ports}): free one, or set others under `listeners:`")
        self._models.start()
        if self.reloader:
            self.reloader.start()

    async def stop(self) -> None:
        if self.reloader:
            await self.reloader.stop()
        await self._listeners.close()
        await self._traffic.generations.stop()
        await self._models.stop()

    async def _follow(self, config: Config) -> Changes:
        if config.log != self._config.log:
            configure(config.log.level, config.log.format)
        self._config = config
        _, changes = await asyncio.gather(
            self._listeners.follow(config.listeners, config.reload.drain_s), self._models.follow(config)
        )
        return changes

    def _handler(self, listener: Listener) -> Handler:
        return build_handler(listener, self._models, self._traffic, self._clients, self._config)


@asynccontextmanager
async def running(config: Config, path: Path | None = None) -> AsyncIterator[Gateway]:
    """path: where the config was read, and will be again. Raises NoListener."""
    gateway = Gateway(config, path)
    try:
        await gateway.start()
        yield gateway
    finally:
        await gateway.stop()


def overrides(scheduling: Scheduling) -> Overrides:
    classes = {part: Intent[name.upper()] for part, name in scheduling.classes.items()}
    return Overrides(scheduling.header, classes)


def build_handler(
    listener: Listener, models: ModelRegistry, traffic: Traffic, clients: Clients, config: Config
) -> Handler:
    """Of one listener, as the config is now. All of them share the models, the traffic and the clients."""
    return Handler(
        listener.persona,
        dialects=DIALECTS,
        routes=RouteTable(own=config.routes),
        models=models,
        traffic=traffic,
        overrides=overrides(config.scheduling),
        keys=config.keys,
        clients=clients,
        access=config.access,
        limits=config.limits,
        log_prompts=config.log.prompts,
        origins=OriginPolicy(
            is_local=is_loopback(listener.host), hosts=config.access.hosts, origins=config.access.origins
        ),
    )


def build_app(persona: str, models: ModelRegistry, traffic: Traffic, config: Config) -> web.Application:
    """What answers on one listener of a gateway whose config stays as it is."""
    clients = Clients()
    handler = build_handler(Listener(port=0, persona=persona), models, traffic, clients, config)
    return application(handler.handle, Control(models, traffic, clients))
