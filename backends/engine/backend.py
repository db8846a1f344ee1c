"""The engine as a backend: an asyncio face for the engine's thread.

Everything here runs on the event loop, and the loop owns it: state, capacity, and who listens to which job. The
engine's thread is told things by message; what its steps brought, it tells in one call to the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import structlog

from backends.base import Backend, BackendState, Embeddings, ModelInfo, Slot
from backends.engine.best_of import BestOf
from backends.engine.capacity import Capacity
from backends.engine.core import PUBLISH_EVERY_S, EngineCore
from backends.engine.intake import num_candidates
from backends.engine.job import Job
from backends.engine.load_times import LoadTimes
from backends.engine.loading import LoadedModel, LoadRunner, load, load_numpy
from backends.engine.messages import Cancel, Report, Stop, Submit
from backends.engine.options import EngineOptions
from backends.engine.renewal import begin_anew, num_hangs
from backends.engine.subscription import Subscription
from backends.engine.teller import Teller
from backends.errors import BackendFailed, DragomanError, NotReady, Unsupported
from backends.events import Event, EventStream
from backends.request import ChatPrompt, EmbedRequest, GenerateRequest

__all__ = ["EngineBackend", "EngineOptions"]

WATCHES_PER_DEADLINE = 4

TELL_S = 1.0
"""For the answers of a process that is about to end."""

log = structlog.get_logger()


class EngineBackend:
    """A backends.base.Backend, in this process. load_runner: puts the model on its device. times: of its loads."""

    def __init__(
        self, options: EngineOptions, load_runner: LoadRunner = load_numpy, times: LoadTimes | None = None
    ) -> None:
        self._options = options
        self._load_runner = load_runner
        self._times = times or LoadTimes()
        self._state = BackendState.STOPPED
        self._phase = "stopped"
        self._lifecycle = asyncio.Lock()  # one start or stop at a time
        self._model: LoadedModel | None = None
        self._core: EngineCore | None = None
        self._teller: Teller | None = None  # the core's
        self._watch: asyncio.Task[None] | None = None
        self._capacity = Capacity(options.max_batch_size + options.max_waiting)
        self._subscriptions: dict[Job, Subscription] = {}

    @property
    def state(self) -> BackendState:
        return self._state

    @property
    def phase(self) -> str:
        """While it loads, with the seconds that this has taken so far, and those that it may still take."""
        return f"{self._phase}, {self._times}" if self._state is BackendState.STARTING else self._phase

    @property
    def ready_in_s(self) -> float | None:
        match self._state:
            case BackendState.READY:
                return 0.0
            case BackendState.STARTING:
                return self._times.remaining_s
            case BackendState.STOPPED:
                return self._times.total_s
            case BackendState.STOPPING | BackendState.FAILED:
                return None

    @property
    def info(self) -> ModelInfo:
        if self._model is not None:
            return self._model.info
        return ModelInfo(window=self._options.window or 0, path=str(self._options.folder))

    @property
    def log(self) -> Sequence[str]:
        return ()

    @property
    def slots(self) -> Sequence[Slot]:
        """As they are in the middle of a step: the engine doesn't stop for who looks."""
        core = self._core
        if core is None or self._state is not BackendState.READY:
            return []
        return [_slot(core, place) for place in range(self._options.max_batch_size)]

    @property
    def adapters(self) -> Mapping[str, Backend]:
        return {}

    # life

    async def start(self) -> None:
        async with self._lifecycle:
            if self._state is BackendState.READY:
                return
            self._enter(BackendState.STARTING, "starting")
            self._times.begin()
            try:
                self._model = await self._load()
            except BackendFailed as error:
                self._enter(BackendState.FAILED, error.message)
                raise
            except asyncio.CancelledError:
                self._enter(BackendState.STOPPED, "stopped while loading")
                raise
            self._times.end()
            self._begin(self._model)
            self._enter(BackendState.READY, "ready")

    async def stop(self) -> None:
        async with self._lifecycle:
            core, self._core = self._core, None
            if core is not None:
                has_failed = self._state is BackendState.FAILED  # then the thread has ended, or hangs
                self._enter(BackendState.STOPPING, "stopping")
                self._answer_everyone(BackendFailed("the engine was stopped"))
                core.send(Stop())
                if self._watch is not None:
                    self._watch.cancel()
                if not await asyncio.to_thread(core.join, 0.0 if has_failed else self._options.step_deadline_s):
                    log.warning("the engine's thread hangs and is left behind", folder=str(self._options.folder))
                self._dismiss_teller()
            self._model = None
            self._enter(BackendState.STOPPED, "stopped")

    def _enter(self, state: BackendState, phase: str) -> None:
        self._state, self._phase = state, phase

    async def _load(self) -> LoadedModel:
        loading = asyncio.ensure_future(asyncio.to_thread(load, self._options, self._load_runner, self._say))
        try:
            return await asyncio.shield(loading)
        except asyncio.CancelledError:  # the thread can't be stopped: what it brings is let go of
            loading.add_done_callback(_discard)
            raise

    def _say(self, phase: str) -> None:
        self._phase = phase
        self._times.enter(phase)
        log.info("loading", phase=phase, since_s=round(self._times.since_s, 3))

    def _begin(self, model: LoadedModel) -> None:
        teller = self._teller = Teller(asyncio.get_running_loop())
        core = EngineCore(
            model.runner,
            model.scheduler,
            publish=lambda reports: teller.call_soon(partial(self._deliver, reports)),
            broke=lambda error: teller.call_soon(partial(self._on_broken, core, error)),
            # while a device computes, telling costs it nothing
            publish_every_s=0.0 if model.runner.traits.is_asynchronous else PUBLISH_EVERY_S,
        )
        core.start()
        self._core = core
        self._watch = asyncio.create_task(self._watch_steps(core), name="engine watch")

    async def _watch_steps(self, core: EngineCore) -> None:
        deadline_s = self._options.step_deadline_s
        while self._core is core and self._state is BackendState.READY:
            await asyncio.sleep(deadline_s / WATCHES_PER_DEADLINE)
            began_at = core.step_began_at
            if began_at is not None and time.monotonic() - began_at > deadline_s:
                self._fail_hung(core, f"the engine hangs: a step has taken longer than {deadline_s:g} s")

    def _fail_hung(self, core: EngineCore, cause: str) -> None:
        if not self._options.restarts_on_hang:
            return self._fail(core, cause)
        if (number := num_hangs(time.monotonic())) >= self._options.max_hangs:
            return self._fail(core, f"{cause}, {number} times within an hour: it isn't restarted any more")
        self._fail(core, cause)
        log.error("the process begins anew", in_s=TELL_S, hangs=number)
        asyncio.get_running_loop().call_later(TELL_S, begin_anew)
        return None

    def _on_broken(self, core: EngineCore, error: Exception) -> None:
        log.error("the engine broke", exc_info=error)
        if self._core is core:
            self._fail(core, f"the engine broke: {type(error).__name__}: {error}")

    def _fail(self, core: EngineCore, cause: str) -> None:
        self._enter(BackendState.FAILED, cause)
        core.send(Stop())
        self._dismiss_teller()
        self._answer_everyone(BackendFailed(cause))

    def _dismiss_teller(self) -> None:
        if self._teller is not None:
            self._teller.stop()
            self._teller = None

    def _answer_everyone(self, error: DragomanError) -> None:
        for subscription in self._subscriptions.values():
            subscription.put((), error=error)

    def _ready(self) -> tuple[LoadedModel, EngineCore]:
        """Raises NotReady or BackendFailed."""
        match self._state:
            case BackendState.FAILED:
                raise BackendFailed(self._phase)
            case BackendState.READY if self._model is not None and self._core is not None:
                return self._model, self._core
            case _:
                raise NotReady(f"the engine isn't ready: {self.phase}")

    # answers

    async def generate(self, request: GenerateRequest) -> EventStream:
        model, _ = self._ready()
        num_sequences = len(request.prompts) * num_candidates(request)
        with self._taken(num_sequences):
            job = await model.intake.job(request)
            subscription = self._submit(job)
            try:
                select = _selection(request, job)
                if request.prompt_logprobs is None:
                    yield select([event for choice in job.choices for event in choice.open()])
                while batch := await subscription.take():
                    if events := select(batch):
                        yield events
            finally:
                self._leave(job)

    @contextlib.contextmanager
    def _taken(self, num_sequences: int) -> Iterator[None]:
        """So much of the capacity. Raises Busy."""
        self._capacity.take(num_sequences)
        began_at = time.monotonic()
        try:
            yield
        finally:
            self._capacity.give_back(num_sequences, time.monotonic() - began_at)

    def _submit(self, job: Job) -> Subscription:
        _, core = self._ready()  # once more: time has passed
        now = time.monotonic()
        for choice in job.choices:
            choice.stopwatch.accepted_at = now
        subscription = self._subscriptions[job] = Subscription()
        core.send(Submit(job))
        return subscription

    def _leave(self, job: Job) -> None:
        subscription = self._subscriptions.pop(job)
        if not subscription.is_complete and self._core is not None:
            self._core.send(Cancel(job))

    def _deliver(self, reports: Sequence[Report]) -> None:
        for report in reports:
            subscription = self._subscriptions.get(report.job)
            if subscription is not None:
                subscription.put(report.events, error=report.error, is_last=report.is_last)

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """No more of the inputs are in the engine at once than a batch has room for."""
        model, _ = self._ready()
        if not model.runner.traits.gives_hidden_states:
            raise Unsupported("this device computes no embeddings", feature="embeddings")
        size = self._options.max_batch_size
        vectors: list[tuple[float, ...]] = []
        counts: list[int] = []
        with self._taken(min(len(request.inputs), size)):
            for first in range(0, len(request.inputs), size):
                job, poolings = await model.intake.embedding(request, request.inputs[first : first + size])
                await self._evaluate(job)
                vectors += [tuple(pooling.vector.tolist()) for pooling in poolings]
                counts += [len(choice.sequence.prompt) for choice in job.choices]
        return Embeddings(tuple(vectors), tuple(counts), "mean")

    async def _evaluate(self, job: Job) -> None:
        subscription = self._submit(job)
        try:
            while await subscription.take():
                pass
        finally:
            self._leave(job)

    # text

    async def tokenize(self, text: str, *, add_special: bool, parse_special: bool = True) -> list[int]:
        model, _ = self._ready()
        return await model.tokenizer.encode_async(text, add_special=add_special, parse_special=parse_special)

    async def token_bytes(self, token_id: int) -> bytes:
        model, _ = self._ready()
        return model.tokenizer.token_bytes(token_id)

    async def detokenize(self, token_ids: Sequence[int], *, skip_special: bool = False) -> str:
        model, _ = self._ready()
        return model.tokenizer.decode(token_ids, skip_special)

    async def render_chat(self, prompt: ChatPrompt) -> str:
        model, _ = self._ready()
        return await model.encoder.render(prompt, reasoning=None)


def _selection(request: GenerateRequest, job: Job) -> Callable[[list[Event]], list[Event]]:
    if num_candidates(request) == request.n:
        return lambda events: events
    return BestOf(job.choices, num_candidates(request), request.n).select


def _slot(core: EngineCore, place: int) -> Slot:
    sequence = core.scheduler.slots[place]
    member = None if sequence is None else core.members.get(sequence)
    if sequence is None or member is None:
        return Slot(place)
    num_generated = len(sequence.generated)
    return Slot(place, member.job.request_id, len(sequence.prompt), num_generated, sequence.max_tokens - num_generated)


def _discard(loading: asyncio.Future[LoadedModel]) -> None:
    if not loading.cancelled() and loading.exception() is None:
        loading.result().runner.close()
