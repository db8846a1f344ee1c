"""The gateways that cases are sent to: real ones, in this process, on free ports, in a thread of their own.

A *profile* is one gateway with its models. The embedded model answers wherever its words don't matter; where a case
needs what a small model won't do on demand (call a tool, think, break half-way), a scripted one plays it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace

from aiohttp import web
from pydantic import SecretStr

from adapters.registry import DIALECTS
from backends.base import Backend, BackendState, Slot
from backends.errors import BackendFailed, Busy
from gateway.app import build_app
from gateway.building import build_backend
from gateway.config import Access, Config, EngineModel, Key, Limits, Listener
from gateway.listeners import server_options
from gateway.models import ModelRegistry
from gateway.traffic import Traffic
from tests.fakes import CUT, HELLO, INFO, THINKING, WEATHER, Fails, Script, ScriptedBackend, called, said

NAMES = ("m", "test", "test-model", "test-system", "show-model", "hamshank")
"""What the vectors and expectations call the model; the recordings call it `tiny`."""


class NeverReady(ScriptedBackend):
    """Loads for ever."""

    def __init__(self) -> None:
        super().__init__(state=BackendState.STARTING)

    async def start(self) -> None:
        await asyncio.Event().wait()


@dataclass(frozen=True, slots=True)
class Profile:
    """models: by name, made anew for each run. refuses: a name that nobody has is an error, not the default model.
    keys: the API keys of which one is asked for."""

    models: Callable[[], Mapping[str, Backend]]
    refuses: bool = False
    load_timeout_s: float = 60.0
    keys: tuple[str, ...] = ()


def _engine(window: int, batch: int, *, refuses: bool = False, keys: tuple[str, ...] = ()) -> Profile:
    options = EngineModel(backend="engine", window=window, max_batch_size=batch)
    return Profile(lambda: {"tiny": build_backend(options)}, refuses, keys=keys)


def _scripted(script: Script) -> Profile:
    return Profile(lambda: {"tiny": ScriptedBackend(script, info=replace(INFO, window=2048))})


def _failing(fault: Fails) -> Profile:
    return Profile(lambda: {"tiny": ScriptedBackend(fault=fault)})


def _plain() -> Mapping[str, Backend]:
    """A model that only completes, and one that only embeds."""
    completes = replace(INFO, capabilities=frozenset({"completion"}))
    embeds = replace(INFO, capabilities=frozenset({"embedding"}))
    return {"tiny": ScriptedBackend(info=completes), "bert": ScriptedBackend(info=embeds)}


_SEATTLE = Script(called("get_weather", '{"location":"Seattle, WA",', '"unit":"celsius"}'), reason="tool_calls")
_PARIS_TWICE = Script(
    (*called("get_weather", '{"city":', '"Paris"}'), *called("get_time", '{"city":', '"Paris"}', call=1)),
    reason="tool_calls",
)
_BUSY_SLOT = Slot(0, "r", num_prompt_tokens=5, num_generated_tokens=0, num_remaining_tokens=1900)

PROFILES: Mapping[str, Profile] = {
    "engine": _engine(window=2048, batch=8),
    "strict": _engine(window=2048, batch=8, refuses=True),
    "keys": _engine(window=2048, batch=2, keys=("sk-test", "sk-test2")),
    "small": _engine(window=256, batch=1),
    "hello": _scripted(HELLO),
    "tools": _scripted(WEATHER),
    "two calls": _scripted(_PARIS_TWICE),
    "text and call": _scripted(Script((*said("Let me", " see."), *WEATHER.pieces), reason="tool_calls")),
    "one call": _scripted(_SEATTLE),
    "thinking": _scripted(THINKING),
    "cut": _scripted(Script(said("Hi"), reason=CUT.reason)),
    "silent": _scripted(Script(())),
    "plain": Profile(_plain, refuses=True),
    "full queue": _failing(Fails(Busy("the queue is full", retry_after_s=1))),
    "breaks": _failing(Fails(BackendFailed("the model broke"), after=3)),
    "busy": Profile(lambda: {"tiny": ScriptedBackend(slots=[_BUSY_SLOT])}),
    "loading": Profile(lambda: {"tiny": NeverReady()}, load_timeout_s=0.1),
}


@dataclass(frozen=True, slots=True)
class Ground:
    """Where each profile listens as each persona."""

    host: str
    ports: Mapping[tuple[str, str], int]

    def port(self, profile: str, persona: str) -> int:
        """Raises LookupError for what nobody plays."""
        return self.ports[profile, persona]


@contextmanager
def running(profiles: Sequence[str] = tuple(PROFILES)) -> Iterator[Ground]:
    """The gateways of these profiles; gone at the end. They have a thread, so that tests may block."""
    started: Future[tuple[Ground, Callable[[], object]]] = Future()

    async def serve() -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        async with contextlib.AsyncExitStack() as stack:
            ports: dict[tuple[str, str], int] = {}
            for name in profiles:
                ports |= await stack.enter_async_context(_gateway(name))
            started.set_result((Ground("127.0.0.1", ports), lambda: loop.call_soon_threadsafe(stop.set)))
            await stop.wait()

    def report_failure(ended: Future[None]) -> None:
        if not started.done():
            started.set_exception(ended.exception())

    with ThreadPoolExecutor(1, "gateways") as pool:
        served = pool.submit(lambda: asyncio.run(serve()))
        served.add_done_callback(report_failure)
        ground, stop = started.result()
        try:
            yield ground
        finally:
            stop()
            served.result()


@asynccontextmanager
async def _gateway(name: str) -> AsyncIterator[dict[tuple[str, str], int]]:
    """All personas of one profile: its ports."""
    profile = PROFILES[name]
    backends = profile.models()
    config = Config(
        listeners=tuple(Listener(port=0, persona=persona) for persona in DIALECTS),
        models={name: EngineModel(backend="engine", aliases=NAMES if name == "tiny" else ()) for name in backends},
        unknown_model="refuse" if profile.refuses else "default",
        keys={key: Key(key=SecretStr(key)) for key in profile.keys},
        access=Access(origins=("*",)),  # as llama.cpp's and llama-cpp-python's servers have it
        limits=Limits(load_timeout_s=profile.load_timeout_s),
    )
    models, traffic = ModelRegistry(config, backends), Traffic()
    models.start()
    ports = {}
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(models.stop)
        for listener in config.listeners:
            app = build_app(listener.persona, models, traffic, config)
            runner = web.AppRunner(app, **server_options(config.limits))
            stack.push_async_callback(runner.cleanup)
            await runner.setup()
            await web.TCPSite(runner, listener.host, 0).start()
            ports[name, listener.persona] = runner.addresses[0][1]
        if name != "loading":
            for served in models.all():
                async with models.acquire(served):
                    pass  # it is loaded now
        yield ports
