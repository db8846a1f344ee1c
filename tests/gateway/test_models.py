from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TypeAlias

import pytest

from backends.base import Backend, BackendState
from backends.errors import BackendFailed, UnknownModel
from gateway.config import AnyModel, Config, parse
from gateway.models import ModelRegistry
from tests.fakes import ScriptedBackend
from tests.gateway.test_group import settle, until

REST = "\nlisteners: [{port: 0, persona: openai}]\nunknown_model: refuse\n"


def config(models: str, rest: str = "") -> Config:
    return parse(f"models: {{{models}}}{REST}{rest}", "test", {})


class Bench:
    """A registry whose backends are scripted, and all that it ever made, with the window of each as its mark."""

    def __init__(self, models: str) -> None:
        self.made: list[tuple[int | None, ScriptedBackend]] = []
        first = config(models)
        self.registry = ModelRegistry(first, {name: self.build(it) for name, it in first.models.items()}, self.build)
        self.registry.start()

    def build(self, model: AnyModel) -> Backend:
        backend = ScriptedBackend(state=BackendState.STOPPED)
        self.made.append((model.window, backend))
        return backend

    def backend(self, window: int | None) -> ScriptedBackend:
        return next(backend for its, backend in reversed(self.made) if its == window)

    async def use(self, name: str) -> Backend:
        async with self.registry.acquire(self.registry.resolve(name)) as backend:
            return backend


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench("a: {backend: engine, window: 16}, b: {backend: engine, window: 32, aliases: [x]}")
    await made.use("a")
    await made.use("b")
    yield made
    await made.registry.stop()


A, B = "a: {backend: engine, window: 16}", "b: {backend: engine, window: 32}"


async def test_what_did_not_change_is_not_touched(bench: Bench) -> None:
    await bench.registry.follow(config(f"{A}, {B}"))
    assert len(bench.made) == 2
    assert await bench.use("b") is bench.backend(32)
    with pytest.raises(UnknownModel):
        bench.registry.resolve("x")


async def test_a_changed_model_drains_while_new_requests_wait_for_its_successor(bench: Bench) -> None:
    old = bench.backend(16)
    async with bench.registry.acquire(bench.registry.resolve("a")) as held:
        following = asyncio.ensure_future(bench.registry.follow(config(f"a: {{backend: engine, window: 64}}, {B}")))
        await settle()
        waiting = asyncio.ensure_future(bench.use("a"))
        assert await bench.use("b") is bench.backend(32)  # the other model goes on meanwhile
        await settle()
        assert not waiting.done()
        assert held is old
        assert old.state is BackendState.READY
    assert (await following).replaced == ("a",)
    assert await waiting is bench.backend(64)
    assert old.state is BackendState.STOPPED


async def test_but_only_for_so_long(bench: Bench) -> None:
    old = bench.backend(16)
    async with bench.registry.acquire(bench.registry.resolve("a")):
        await bench.registry.follow(config(f"a: {{backend: engine, window: 64}}, {B}", "reload: {drain_s: 0.0}"))
        assert old.state is BackendState.STOPPED
        assert await bench.use("a") is bench.backend(64)


async def test_a_model_comes_and_another_goes(bench: Bench) -> None:
    gone = bench.registry.resolve("b")
    await bench.registry.follow(config(f"{A}, c: {{backend: engine, window: 64}}"))
    assert await bench.use("c") is bench.backend(64)
    assert bench.backend(32).state is BackendState.STOPPED
    assert [served.name for served in bench.registry.all()] == ["a", "c"]
    for lost in (lambda: bench.registry.resolve("b"), lambda: bench.registry.acquire(gone)):
        with pytest.raises(UnknownModel):
            lost()


async def test_a_model_moves_to_a_group_with_those_who_wait_for_it(bench: Bench) -> None:
    shared = "a: {backend: engine, window: 16, exclusive: tt}, b: {backend: engine, window: 32, exclusive: tt}"
    async with bench.registry.acquire(bench.registry.resolve("a")):
        following = asyncio.ensure_future(bench.registry.follow(config(shared)))
        await settle()
        waiting = asyncio.ensure_future(bench.use("a"))
        await settle()
    await following
    assert await waiting is bench.backend(16)
    assert await bench.use("b") is bench.backend(32)
    assert bench.backend(16).state is BackendState.STOPPED  # they share a device now


async def test_a_model_that_failed_is_tried_again_at_a_reload(bench: Bench) -> None:
    broken = bench.backend(16)
    broken.state, broken.phase = BackendState.FAILED, "it died too often"
    with pytest.raises(BackendFailed, match="too often"):
        await bench.use("a")
    await bench.registry.follow(config(f"{A}, {B}"))
    assert await bench.use("a") is not broken


class Slow(ScriptedBackend):
    async def start(self) -> None:
        self.state = BackendState.STARTING
        await asyncio.Event().wait()


@pytest.fixture
async def loading(bench: Bench) -> AsyncIterator[tuple[ModelRegistry, asyncio.Future[Backend]]]:
    """A model that never gets ready, and a request that waits for it."""
    slow = Slow(state=BackendState.STOPPED)
    registry = ModelRegistry(config(A), {"a": slow}, bench.build)
    registry.start()
    await until(lambda: slow.state is BackendState.STARTING)
    waiting = asyncio.ensure_future(_used(registry, "a"))
    await settle()
    yield registry, waiting
    await registry.stop()


Loading: TypeAlias = tuple[ModelRegistry, "asyncio.Future[Backend]"]


async def test_a_load_that_never_ends_does_not_hold_up_its_successor(bench: Bench, loading: Loading) -> None:
    registry, waiting = loading
    await registry.follow(config("a: {backend: engine, window: 64, load: demand}"))
    assert await waiting is bench.backend(64)


async def test_who_waits_for_a_model_that_goes_is_told(loading: Loading) -> None:
    registry, waiting = loading
    await registry.follow(config(B))
    with pytest.raises(UnknownModel):
        await waiting


async def _used(registry: ModelRegistry, name: str) -> Backend:
    async with registry.acquire(registry.resolve(name)) as backend:
        return backend


async def test_a_pinned_model_stays_whatever_a_client_says(bench: Bench) -> None:
    await bench.registry.follow(config(f"a: {{backend: engine, window: 16, pinned: true}}, {B}"))
    for name in ("a", "b"):
        bench.registry.keep_alive(bench.registry.resolve(name), 0.0)
    await until(lambda: bench.backend(32).state is BackendState.STOPPED)
    assert bench.backend(16).state is BackendState.READY


async def test_when_a_model_will_be_ready_isnt_told_where_another_must_give_way_first() -> None:
    for exclusive, told in (("", 12.5), (", exclusive: tt", None)):
        first, second = f"backend: engine, window: 16{exclusive}", f"backend: engine, window: 32{exclusive}"
        made = Bench(f"a: {{{first}}}, b: {{{second}, load: demand}}")
        await made.use("a")
        made.backend(32).loads_in_s = 12.5
        a, b = (made.registry.resolve(name) for name in "ab")
        assert (made.registry.ready_in_s(a), made.registry.ready_in_s(b)) == (0.0, told)
        await made.registry.stop()
