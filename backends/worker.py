"""A server of our own, kept alive: started, watched, and started again when it died or hangs.

One task owns the process and everything about it. Knows nothing of requests: who lost an answer says so, and is told
why.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from backends.accent import AccentName
from backends.base import BackendState
from backends.errors import BackendFailed, DragomanError, NotReady
from backends.facts import Facts
from backends.last_words import last_words
from backends.process import Process
from backends.restarts import Restarts
from backends.source import Lease
from backends.upstream import Upstream
from backends.upstream_errors import WorkerLost
from backends.upstream_facts import read_facts

log = structlog.get_logger()

_PROBE_S = 0.1  # between two looks whether it is ready
_WATCH_S = 0.2
_LOOKS = 10  # at the death behind a cut connection: vLLM's exit takes 1.4 s, and on a busy machine so do the looks
_LAST_WORDS_S = 2.0
_DEATH_S = 10.0  # from the moment that it is known to be broken
_OVER = (BackendState.STOPPING, BackendState.STOPPED)
_MAX_SICK = 3  # failed health checks in a row
_HEALTH_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Launch:
    """One run of a worker. upstream: the server that it will be. clean: removes what the run leaves behind."""

    command: Sequence[str]
    env: Mapping[str, str]
    upstream: Upstream
    clean: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class Plan:
    """How a worker is run. launch: makes each run's port, key and socket; raises BackendFailed where it can't.

    model: as the server calls it; None: its first. accent: as in upstream_facts.read_facts. health: a path that answers
    200 when it is well; "": it has none. health_s: between two looks at it. start_timeout_s: from the start until it is
    ready. grace_s: from SIGTERM to SIGKILL. hang_s: answers are under way, and none of them gets anything, for so long.
    phase_of: what a line of its log tells of its start, in words, or None.
    """

    launch: Callable[[], Launch]
    model: str | None = None
    accent: AccentName | None = None
    health: str = "/health"
    health_s: float = 5.0
    start_timeout_s: float = 600.0
    grace_s: float = 10.0
    hang_s: float = 120.0
    log_lines: int = 1000
    phase_of: Callable[[str], str | None] = lambda _line: None
    restarts: Restarts = field(default_factory=Restarts)


class Worker:
    """A backends.source.Source."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._state = BackendState.STOPPED
        self._phase = "stopped"
        self._log: Sequence[str] = deque()
        self._obituary: tuple[Upstream | None, str] = (None, "")  # who died last, and of what
        self._facts: Facts | None = None
        self._upstream: Upstream | None = None  # while it is ready
        self._condemned: str | None = None  # the present run is to end, and why
        self._life: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    @property
    def state(self) -> BackendState:
        return self._state

    @property
    def phase(self) -> str:
        return self._phase

    @property
    def facts(self) -> Facts | None:
        return self._facts

    @property
    def log(self) -> Sequence[str]:
        return self._log

    async def start(self) -> None:
        """Raises BackendFailed when the first start fails: it isn't tried again then."""
        if self._life is None:
            self._enter(BackendState.STARTING, "starting")
            self._life = asyncio.create_task(self._live(), name="worker")
        try:
            while self._state is BackendState.STARTING:
                await self._change()
        except asyncio.CancelledError:
            await self.stop()
            raise
        if self._state is BackendState.FAILED:
            raise BackendFailed(self._phase)

    async def stop(self) -> None:
        life, self._life = self._life, None
        if life is not None:
            self._enter(BackendState.STOPPING, "stopping")
            life.cancel()
            await asyncio.gather(life, return_exceptions=True)
        self._enter(BackendState.STOPPED, "stopped")

    async def lease(self, *, key: str | None = None, adapter: str | None = None) -> Lease:  # noqa: ARG002
        """It has a key of its own, and says itself which adapters it doesn't have."""
        deadline = time.monotonic() + self._plan.start_timeout_s
        while self._state is BackendState.STARTING and (left_s := deadline - time.monotonic()) > 0:
            await self._change(left_s)
        if self._state is BackendState.FAILED:
            raise BackendFailed(self._phase)
        if self._upstream is None or self._facts is None:
            raise NotReady(f"the worker isn't ready: {self._phase}", retry_after_s=5)
        return Lease(self._upstream, self._facts)

    async def explain(self, upstream: Upstream, error: WorkerLost) -> BackendFailed:
        """Waits a moment: a cut connection is seen sooner than the death behind it."""
        for _ in range(_LOOKS):
            if self._upstream is not upstream:
                break
            if self._plan.health and await self._sickness(upstream):
                self._condemn(error.message)
            await self._change(_WATCH_S)
        if self._upstream is upstream:
            return error  # it is well: this answer alone was lost
        deadline = time.monotonic() + _DEATH_S
        while self._obituary[0] is not upstream and self._state not in _OVER and time.monotonic() < deadline:
            await self._change(_WATCH_S)
        if self._state in _OVER:
            return BackendFailed("the worker was stopped")
        return BackendFailed(self._obituary[1]) if self._obituary[0] is upstream else error

    # the task that owns the process

    async def _live(self) -> None:
        try:
            await self._live_on()
        except Exception as error:
            log.exception("bug")
            self._enter(BackendState.FAILED, f"nobody looks after it any more: {error!r}")  # or requests wait for ever

    async def _live_on(self) -> None:
        while True:
            self._enter(BackendState.STARTING, "starting")
            cause = await self._run()
            log.error("worker died", cause=cause)
            if self._facts is None:  # it never was ready: another try would end in the same way
                return self._enter(BackendState.FAILED, cause)
            pause_s = self._plan.restarts.died(time.monotonic())
            if pause_s is None:
                return self._enter(BackendState.FAILED, f"it died too often and isn't restarted: {cause}")
            self._enter(BackendState.STARTING, f"restarting in {pause_s:g} s, because {cause}")
            await asyncio.sleep(pause_s)

    async def _run(self) -> str:
        """One run, from its start to its death, of which the cause is returned. Leaves nothing behind."""
        try:
            launch = self._plan.launch()
        except BackendFailed as error:
            return error.message
        try:
            cause = await self._run_process(launch)
        except BackendFailed as error:
            cause = error.message
        finally:
            await launch.upstream.close()
            launch.clean()
        self._obituary, self._condemned = (launch.upstream, cause), None
        return cause

    async def _run_process(self, launch: Launch) -> str:
        plan = self._plan
        process = Process(
            launch.command, env=launch.env, on_line=self._read_line, grace_s=plan.grace_s, log_lines=plan.log_lines
        )
        self._log = process.log
        try:
            await process.start()
            return await self._until_death(process, launch.upstream, asyncio.ensure_future(process.wait()))
        finally:
            self._upstream = None
            await _to_the_end(process.stop())

    async def _until_death(self, process: Process, upstream: Upstream, ended: asyncio.Future[int]) -> str:
        try:
            self._facts = await self._until_ready(upstream, ended)
        except BackendFailed as error:
            return error.message
        self._upstream = upstream
        self._enter(BackendState.READY, "ready")
        cause = await self._watch(upstream, ended)
        if not ended.done():
            process.signal(signal.SIGKILL)  # what hangs or is broken doesn't end in order
            await asyncio.wait({ended}, timeout=_LAST_WORDS_S)  # then its log is read to the end
        if words := last_words(self._log):
            cause = f"{cause}: {words}"
        self._upstream, self._obituary = None, (upstream, cause)  # before the sweeping: somebody waits to be told
        self._enter(BackendState.STARTING, f"restarting, because {cause}")
        return cause

    async def _until_ready(self, upstream: Upstream, ended: asyncio.Future[int]) -> Facts:
        """Raises BackendFailed when it ends first, or doesn't get ready in time."""
        deadline = time.monotonic() + self._plan.start_timeout_s
        reason = "nothing listens yet"
        while time.monotonic() < deadline:
            if ended.done():
                words = last_words(self._log) or "its log is empty"
                raise BackendFailed(f"{_ending(ended.result())}: {words}")
            try:
                if self._plan.health:
                    await upstream.ask("GET", self._plan.health, timeout_s=_HEALTH_TIMEOUT_S)
                return await read_facts(upstream, model=self._plan.model, accent=self._plan.accent)
            except DragomanError as error:
                reason = error.message
            await asyncio.wait({ended}, timeout=_PROBE_S)
        told = f"it wasn't ready after {self._plan.start_timeout_s:g} s ({self._phase}; {reason})"
        raise BackendFailed(f"{told}: {last_words(self._log)}")

    async def _watch(self, upstream: Upstream, ended: asyncio.Future[int]) -> str:
        """Until it dies, hangs, is sick or condemned; returns the cause. What hangs may not answer a health check
        either, so nobody waits for that."""
        checking = asyncio.create_task(self._check_health(upstream), name="health")
        ends: set[asyncio.Future[Any]] = {ended, checking}
        try:
            while True:
                await asyncio.wait(ends, timeout=_WATCH_S, return_when=asyncio.FIRST_COMPLETED)
                if ended.done():
                    return _ending(ended.result())
                if self._condemned is not None:
                    return f"the worker broke ({self._condemned})"
                if upstream.num_running and time.monotonic() - upstream.progress_at > self._plan.hang_s:
                    num_lost = upstream.num_running
                    return f"the worker hung: no token for {self._plan.hang_s:g} s, {num_lost} answers under way"
                if checking.done():
                    return checking.result()
        finally:
            checking.cancel()
            await asyncio.gather(checking, return_exceptions=True)

    async def _check_health(self, upstream: Upstream) -> str:
        """Until it is sick; returns the cause."""
        num_sick = 0
        while True:
            await asyncio.sleep(self._plan.health_s)
            sickness = await self._sickness(upstream) if self._plan.health else None
            num_sick = num_sick + 1 if sickness else 0
            if num_sick >= _MAX_SICK:
                return f"the worker's health check failed {num_sick} times ({sickness})"

    async def _sickness(self, upstream: Upstream) -> str | None:
        try:
            await upstream.ask("GET", self._plan.health, timeout_s=_HEALTH_TIMEOUT_S)
        except DragomanError as error:
            return error.message
        return None

    def _condemn(self, cause: str) -> None:
        """From here on nobody gets this run; the task ends it."""
        if self._condemned is None:
            self._upstream, self._condemned = None, cause
            self._enter(BackendState.STARTING, f"restarting, because the worker broke ({cause})")

    def _read_line(self, line: str) -> None:
        phase = self._plan.phase_of(line)
        if phase and self._state is BackendState.STARTING:
            self._phase = phase

    def _enter(self, state: BackendState, phase: str) -> None:
        self._state, self._phase = state, phase
        self._changed.set()
        self._changed = asyncio.Event()

    async def _change(self, timeout_s: float | None = None) -> None:
        """Waits until the state changes, or not quite so long."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._changed.wait(), timeout_s)


async def _to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Who cancels us meanwhile has to wait: a process that is half stopped would be left behind."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


def _ending(code: int) -> str:
    """Exit code 0 is a death like any other: nobody asked it to end."""
    how = f"was ended by signal {code - 128}" if code > 128 else f"ended with exit code {code}"
    return f"the worker {how}"
