"""A backend whose model runs in a server: requests become calls, and what the server streams becomes events.

Owns what happens when an answer is lost on the way. Who the servers are is the source's affair, how they speak is
upstream_request's and upstream_events'.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import functools
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import structlog

from backends.base import BackendState, Embeddings, ModelInfo, Slot
from backends.errors import BackendFailed, Unsupported
from backends.events import EventStream
from backends.gate import Gate, priority_of
from backends.merge import merged
from backends.model_folder import ModelFolder
from backends.request import ChatPrompt, EmbedRequest, GenerateRequest
from backends.source import Lease, Source
from backends.upstream_call import Call, calls_of
from backends.upstream_errors import WorkerLost
from backends.upstream_events import UpstreamReader
from backends.upstream_text import UpstreamText

_MAX_EMBEDDED = 16  # inputs that are under way at once

T = TypeVar("T")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Behaviour:
    """folder: the model's, if it can be read here. window: tokens, where the server doesn't say. resumes: an answer
    whose worker died goes on at the next one, where that can be done. num_retries: other attempts at an answer of which
    nothing has been sent. max_batch_size, completion_slots: a Gate's. priorities: the server schedules by them, and is
    told what answers are for."""

    folder: Path | None = None
    window: int | None = None
    resumes: bool = False
    num_retries: int = 1
    max_batch_size: int | None = None
    completion_slots: int | None = None
    priorities: bool = False


class UpstreamBackend:
    """A backends.base.Backend; each of its adapters is another, which shares all but its name with it."""

    def __init__(self, source: Source, behaviour: Behaviour = Behaviour()) -> None:
        self._source = source
        self._behaviour = behaviour
        self._folder: ModelFolder | None = None
        self._has_started = False
        self._adapter: str | None = None
        self._adapters: dict[str, UpstreamBackend] = {}
        self._gate = Gate(behaviour.max_batch_size, behaviour.completion_slots)

    @property
    def state(self) -> BackendState:
        return self._source.state

    @property
    def phase(self) -> str:
        return self._source.phase

    @property
    def ready_in_s(self) -> float | None:
        return 0.0 if self.state is BackendState.READY else None

    @property
    def log(self) -> Sequence[str]:
        return self._source.log

    @property
    def info(self) -> ModelInfo:
        """From the folder what only that tells, from the server what it can and how long its window is."""
        behaviour, facts, folder = self._behaviour, self._source.facts, self._folder
        info = ModelInfo(window=0, path=str(behaviour.folder or "")) if folder is None else folder.info
        if facts is None:
            return replace(info, window=behaviour.window or info.window)
        return replace(
            info,
            window=behaviour.window or facts.window or info.window,
            path=info.path or facts.model,
            capabilities=facts.capabilities | (info.capabilities - facts.lacks if folder else frozenset()),
            chat_template=info.chat_template or facts.chat_template,
        )

    @property
    def slots(self) -> Sequence[Slot]:
        """A server doesn't tell."""
        return ()

    @property
    def adapters(self) -> Mapping[str, UpstreamBackend]:
        facts = self._source.facts
        if facts is None or not self._has_started:
            return {}
        for name in facts.adapters:
            if name not in self._adapters:
                self._adapters[name] = self._with_adapter(name)
        return {name: self._adapters[name] for name in facts.adapters}

    def _with_adapter(self, name: str) -> UpstreamBackend:
        twin = copy.copy(self)
        twin._adapter, twin._adapters = name, {}
        return twin

    # life

    async def start(self) -> None:
        opening = asyncio.ensure_future(self._open_folder())
        try:
            await self._source.start()
            await opening
            self._has_started = True
        except (BackendFailed, asyncio.CancelledError):
            opening.cancel()
            if self.state is BackendState.READY:
                await self._source.stop()
            raise

    async def _open_folder(self) -> None:
        if self._folder is None and self._behaviour.folder is not None:
            self._folder = await ModelFolder.open(self._behaviour.folder)

    async def stop(self) -> None:
        await self._source.stop()

    # answers

    async def generate(self, request: GenerateRequest) -> EventStream:
        lease = await self._lease(request.key)
        text = UpstreamText(lease, self._folder, key=request.key)
        prompts = [await text.plain(prompt) for prompt in request.prompts]
        asked = replace(request, priority=priority_of(request)) if self._behaviour.priorities else request
        calls = calls_of(asked, prompts)
        wires = [call.wire(lease.facts, self._folder) for call in calls]  # refused before any begins
        request.ignored += wires[0].ignored
        async with contextlib.aclosing(merged([self._perform(call) for call in calls])) as events:
            async for batch in events:
                yield batch

    async def _perform(self, call: Call) -> EventStream:
        """Puts the call to a server, once it is its turn; where the answer is lost, to the next one."""
        request, num_attempts = call.request, 0
        turn = self._gate.place(request.intent, request.client, request.priority, request.paid_by)
        async with turn as place:
            while True:
                lease = await self._lease(request.key)
                try:
                    async with contextlib.aclosing(self._attempt(call, lease)) as events:
                        async for batch in events:
                            if news := list(call.sent(batch)):
                                place.observe(news)
                                yield news
                    return
                except WorkerLost as error:
                    told = await self._source.explain(lease.upstream, error)
                    num_attempts += 1
                    is_over = self.state in (BackendState.STOPPING, BackendState.STOPPED)
                    if is_over or num_attempts > self._behaviour.num_retries or not self._prepared(call):
                        raise told from None

    def _prepared(self, call: Call) -> bool:
        """May the call be put once more?"""
        if not call.has_answered:
            return True
        if not self._behaviour.resumes or self._folder is None or not call.can_resume():
            return False
        call.resume(self._folder)
        return True

    async def _attempt(self, call: Call, lease: Lease) -> EventStream:
        """Closing it closes the connection, by which the server knows that nobody listens."""
        request, wire = call.request, call.wire(lease.facts, self._folder)
        reader = UpstreamReader(call.reading(self._folder), time.monotonic())
        async with contextlib.aclosing(lease.upstream.answer(wire.path, wire.body, key=request.key)) as answer:
            async for chunks in answer:
                now = time.monotonic()
                for chunk in chunks:  # one by one: what came before an error is sent
                    yield reader.read(chunk, now)
                if request.deadline_s is not None and reader.speaks_since(now) > request.deadline_s:
                    yield reader.cut()
                    return
        yield reader.end()

    async def _lease(self, key: str | None = None) -> Lease:
        """key: the client's."""
        lease = await self._source.lease(key=key, adapter=self._adapter)
        if self._adapter is None:
            return lease
        return replace(lease, facts=replace(lease.facts, model=self._adapter))

    # text

    async def _ask(self, question: Callable[[UpstreamText], Awaitable[T]]) -> T:
        lease = await self._lease()
        try:
            return await question(UpstreamText(lease, self._folder))
        except WorkerLost as error:
            raise await self._source.explain(lease.upstream, error) from None

    async def tokenize(self, text: str, *, add_special: bool, parse_special: bool = True) -> list[int]:
        return await self._ask(lambda it: it.tokenize(text, add_special=add_special, parse_special=parse_special))

    async def token_bytes(self, token_id: int) -> bytes:
        return await self._ask(lambda it: it.token_bytes(token_id))

    async def detokenize(self, token_ids: Sequence[int], *, skip_special: bool = False) -> str:
        """Servers write special tokens out; which they are, is known of the first and the last of a text only."""
        text = await self._ask(lambda it: it.detokenize(token_ids))
        special = [token for token in (self.info.bos_token, self.info.eos_token) if token and skip_special]
        return functools.reduce(lambda rest, token: rest.replace(token, ""), special, text)

    async def render_chat(self, prompt: ChatPrompt) -> str:
        return await self._ask(lambda it: it.render(prompt))

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """One question for each input, because servers count the tokens of all of them together."""
        lease = await self._lease(request.key)
        if "embedding" not in lease.facts.capabilities:
            raise Unsupported("this model's server has no embeddings", feature="embeddings")
        places = asyncio.Semaphore(_MAX_EMBEDDED)

        async def one(text_or_ids: str | Sequence[int]) -> tuple[tuple[float, ...], int]:
            async with places, self._gate.place(request.intent, request.client) as place:
                asked = text_or_ids if isinstance(text_or_ids, str) else list(text_or_ids)
                vector, num_tokens = await self._embed(asked, request.key)
                place.charge(num_tokens)
                return vector, num_tokens

        answers = await asyncio.gather(*map(one, request.inputs))
        return Embeddings(tuple(vector for vector, _ in answers), tuple(count for _, count in answers), "mean")

    async def _embed(self, text_or_ids: str | list[int], key: str | None) -> tuple[tuple[float, ...], int]:
        lease = await self._lease(key)
        body = {"model": lease.facts.model, "input": text_or_ids, "encoding_format": "float"}
        try:
            answer = await lease.upstream.ask("POST", "/v1/embeddings", body, key=key, timeout_s=600.0)
            return tuple(map(float, answer["data"][0]["embedding"])), int(answer["usage"]["prompt_tokens"])
        except WorkerLost as error:
            raise await self._source.explain(lease.upstream, error) from None
        except (KeyError, IndexError, TypeError) as error:
            raise BackendFailed(f"the model's server sends a malformed embedding: {error!r}") from None
