from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from backends.base import BackendState
from backends.errors import BackendFailed, NotReady
from gateway.group import Group
from gateway.resident import Resident
from tests.fakes import ScriptedBackend


def resident(name: str, unload_after_s: float | None = None, backend: ScriptedBackend | None = None) -> Resident:
    return Resident(name, backend or ScriptedBackend(state=BackendState.STOPPED), unload_after_s)


class Stage:
    """A group that is stopped at the end, and the requests that were put to it."""

    def __init__(self, *members: Resident, first: Resident | None, patience_s: float = 1000.0) -> None:
        self.group = Group(patience_s=patience_s)
        for member in members:
            self.group.add(member, loads=member is first)
        self.group.start()
        self.entered: list[str] = []
        self._requests: list[asyncio.Task[None]] = []

    def request(self, member: Resident) -> asyncio.Event:
        """Somebody uses the member from when they are let in until the returned event is set."""
        done = asyncio.Event()

        async def use() -> None:
            async with member.acquire(1000.0):
                self.entered.append(member.name)
                await done.wait()

        self._requests.append(asyncio.create_task(use()))
        return done

    async def close(self) -> None:
        for request in self._requests:
            request.cancel()
        await asyncio.gather(*self._requests, return_exceptions=True)
        await self.group.stop()


@pytest.fixture
async def stage() -> AsyncIterator[Callable[..., Stage]]:
    stages: list[Stage] = []

    def make(*members: Resident, first: Resident | None = None, **options: float) -> Stage:
        stages.append(Stage(*members, first=first, **options))
        return stages[-1]

    yield make
    for made in stages:
        await made.close()


async def until(condition: Callable[[], object]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("it never came true")


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_the_first_is_loaded_at_once_and_the_other_on_demand(stage: Callable[..., Stage]) -> None:
    a, b = resident("a"), resident("b")
    s = stage(a, b, first=a)
    await until(lambda: s.group.loaded is a)
    assert b.backend.state is BackendState.STOPPED
    s.request(b)
    await until(lambda: s.entered == ["b"])
    assert a.backend.state is BackendState.STOPPED


async def test_two_are_never_loaded_together_and_nothing_that_runs_is_cut_off(stage: Callable[..., Stage]) -> None:
    a, b = resident("a"), resident("b")
    s = stage(a, b, patience_s=0.0)
    done = s.request(a)
    await until(lambda: s.entered == ["a"])
    s.request(b)
    await settle()
    assert (a.backend.state, b.backend.state) == (BackendState.READY, BackendState.STOPPED)
    done.set()
    await until(lambda: s.entered == ["a", "b"])
    assert (a.backend.state, b.backend.state) == (BackendState.STOPPED, BackendState.READY)


async def test_requests_for_the_loaded_model_go_first(stage: Callable[..., Stage]) -> None:
    a, b = resident("a"), resident("b")
    s = stage(a, b)
    first = s.request(a)
    await until(lambda: s.entered == ["a"])
    s.request(b)
    second = s.request(a)
    await until(lambda: s.entered == ["a", "a"])
    first.set()
    second.set()
    await until(lambda: s.entered == ["a", "a", "b"])


async def test_but_not_for_ever(stage: Callable[..., Stage]) -> None:
    a, b = resident("a"), resident("b")
    s = stage(a, b, patience_s=0.0)
    first = s.request(a)
    await until(lambda: s.entered == ["a"])
    s.request(b)
    await settle()
    s.request(a)
    await settle()
    assert s.entered == ["a"]
    first.set()
    await until(lambda: s.entered[:2] == ["a", "b"])


async def test_an_idle_model_is_unloaded_and_comes_back(stage: Callable[..., Stage]) -> None:
    a = resident("a", unload_after_s=0.0)
    s = stage(a)
    s.request(a).set()
    await until(lambda: s.entered == ["a"] and s.group.loaded is None)
    assert a.backend.state is BackendState.STOPPED
    s.request(a)
    await until(lambda: s.entered == ["a", "a"])


async def test_a_model_in_use_is_not_idle(stage: Callable[..., Stage]) -> None:
    a = resident("a", unload_after_s=0.0)
    s = stage(a)
    s.request(a)
    await until(lambda: s.entered == ["a"])
    await settle()
    assert a.backend.state is BackendState.READY


async def test_a_client_that_leaves_the_queue_holds_nobody_up(stage: Callable[..., Stage]) -> None:
    a, b = resident("a"), resident("b")
    s = stage(a, b, patience_s=0.0)
    s.request(a)
    await until(lambda: s.entered == ["a"])
    waiting = asyncio.ensure_future(b.acquire(1000.0).__aenter__())
    await settle()
    waiting.cancel()
    await settle()
    s.request(a)
    await until(lambda: s.entered == ["a", "a"])


async def test_a_model_that_cannot_be_loaded_says_why_to_everyone(stage: Callable[..., Stage]) -> None:
    class Broken(ScriptedBackend):
        async def start(self) -> None:
            raise BackendFailed("no weights")

    a, b = resident("a", backend=Broken(state=BackendState.STOPPED)), resident("b")
    s = stage(a, b)
    for _ in range(2):
        with pytest.raises(BackendFailed, match="model 'a' failed to load: no weights"):
            await a.acquire(1000.0).__aenter__()
    s.request(b)
    await until(lambda: s.entered == ["b"])


async def test_a_model_that_broke_later_says_why(stage: Callable[..., Stage]) -> None:
    backend = ScriptedBackend(state=BackendState.STOPPED)
    a = resident("a", backend=backend)
    s = stage(a, first=a)
    await until(lambda: s.group.loaded is a)
    backend.state, backend.phase = BackendState.FAILED, "the device hung"
    with pytest.raises(BackendFailed, match="the device hung"):
        await a.acquire(1000.0).__aenter__()


async def test_waiting_ends_with_the_phase(stage: Callable[..., Stage]) -> None:
    class Slow(ScriptedBackend):
        async def start(self) -> None:
            self.phase = "reading weights"
            await asyncio.Event().wait()

    a = resident("a", backend=Slow(state=BackendState.STOPPED))
    stage(a)
    with pytest.raises(NotReady, match="reading weights"):
        await a.acquire(0.01).__aenter__()


async def test_stopping_answers_those_who_wait(stage: Callable[..., Stage]) -> None:
    a, b = resident("a"), resident("b")
    s = stage(a, b)
    s.request(a)
    await until(lambda: s.entered == ["a"])
    waiting = asyncio.ensure_future(b.acquire(1000.0).__aenter__())
    await settle()
    await s.group.stop()
    with pytest.raises(NotReady, match="stopping"):
        await waiting
