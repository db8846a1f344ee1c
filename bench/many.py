"""Many clients on one device, against first come, first served: ratios, in one run.

    python -m bench.many paced      on a runner that takes as long as a card does
    python -m bench.many numpy      on the embedded model

A second word measures one thing alone: typing, fairness, burst or busy.

Everything goes over HTTP through the gateway, as its clients would have it. First come, first served is the same
gateway, to which every request comes as a chat of one and the same client.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import json
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp.test_utils import TestServer

from backends.base import ModelInfo
from backends.engine import demo
from backends.engine.backend import EngineBackend
from backends.engine.model_info import read_model_info
from backends.engine.numpy_runner import NumpyRunner
from backends.engine.options import EngineOptions
from backends.engine.runner import Floats, Launched, Say
from bench.paced import N150, PacedRunner, load_paced
from gateway.app import build_app
from gateway.config import parse
from gateway.log import configure
from gateway.models import ModelRegistry
from gateway.traffic import Traffic

CONFIG = parse("listeners: [{port: 0, persona: llamacpp}]\nmodels: {demo: {backend: engine}}", "bench", {})
BATCH = 32
SOURCE = "".join(f"def step_{i}(state, value):\n    return state * {i} + value\n\n\n" for i in range(10))
AFTER = "\n\n\nif __name__ == '__main__':\n    main()\n"
TOOLS = [{"type": "function", "function": {"name": "run", "parameters": {"type": "object"}}}]
FCFS = {"X-Priority": "chat", "User-Agent": "everybody"}
NUM_EDITORS, NUM_IN_FLIGHT, NUM_CLIENTS = 3, 30, 8


@dataclass(frozen=True, slots=True)
class Device:
    """How long things are looked at, in seconds: what a model does in one, another needs ten for. pause_s: between two
    keystrokes of an editor, at most."""

    name: str
    window_s: float
    pause_s: float


PACED = Device(N150.name, window_s=30.0, pause_s=2.4)
NUMPY = Device("the embedded model in numpy", window_s=12.0, pause_s=0.6)


class CountingRunner(NumpyRunner):
    """num_tokens: that it evaluated."""

    num_tokens = 0

    def prefill(self, rows: Any) -> list[Floats]:
        self.num_tokens += sum(len(row.tokens) for row in rows)
        return super().prefill(rows)

    def launch(self, tokens: Any, *rest: Any) -> Launched:
        self.num_tokens += len(tokens)
        return super().launch(tokens, *rest)


def load_counting(options: EngineOptions, _say: Say) -> tuple[CountingRunner, ModelInfo]:
    return CountingRunner.load(options.folder, options.max_batch_size), read_model_info(options.folder)


@dataclass(slots=True)
class Town:
    """A gateway and its device. is_fair: else first come, first served."""

    session: aiohttp.ClientSession
    url: str
    is_fair: bool
    runners: Sequence[CountingRunner | PacedRunner] = ()

    @property
    def runner(self) -> CountingRunner | PacedRunner:
        """Once the model is loaded."""
        (runner,) = self.runners
        return runner

    async def ask(self, path: str, body: dict[str, Any], client: str) -> AsyncGenerator[bytes, None]:
        """The events that come, as JSON."""
        headers = {"User-Agent": client} if self.is_fair else FCFS
        async with self.session.post(self.url + path, data=json.dumps(body), headers=headers) as response:
            assert response.status == 200, await response.text()
            async for line in response.content:
                if line.startswith(b"data: {"):
                    yield line.removeprefix(b"data: ")


@contextlib.asynccontextmanager
async def town(device: Device, *, is_fair: bool) -> AsyncIterator[Town]:
    """A new one for each measurement: nothing is left in the cache from the one before."""
    runners: list[CountingRunner | PacedRunner] = []

    def load(options: EngineOptions, say: Say) -> tuple[CountingRunner | PacedRunner, ModelInfo]:
        runner, info = (load_paced if device is PACED else load_counting)(options, say)
        runners.append(runner)
        return runner, info

    models = ModelRegistry(
        CONFIG, {"demo": EngineBackend(EngineOptions(demo.FOLDER, max_batch_size=BATCH, num_blocks=4096), load)}
    )
    server = TestServer(build_app("llamacpp", models, Traffic(), CONFIG))
    await server.start_server()
    models.start()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        place = Town(session, str(server.make_url("")).rstrip("/"), is_fair, runners)
        async for _ in place.ask("/completion", {"prompt": "x", "n_predict": 1, "stream": True}, "warm-up"):
            pass
        yield place
    await server.close()
    await models.stop()


# who lives there


@dataclass(slots=True)
class Editor:
    """Types at one place of a file and asks for a completion now and then. It never hangs up."""

    name: str
    pause_s: float
    first_s: list[float] = field(default_factory=list)  # until the first token of each that had one
    num_keystrokes: int = 0

    async def type(self, place: Town, chance: random.Random) -> None:
        typed = f"{SOURCE}def {self.name}(values):\n    "
        asking: set[asyncio.Task[None]] = set()
        try:
            while True:
                typed += chance.choice(("total ", "= ", "sum(", "values", ")\n    ", "for ", "item ", "in ", "x"))
                asking.add(asyncio.create_task(self._complete(place, typed)))
                await asyncio.sleep(chance.uniform(self.pause_s / 2, self.pause_s))
        finally:
            for task in asking:
                task.cancel()

    async def _complete(self, place: Town, typed: str) -> None:
        self.num_keystrokes += 1
        began = time.perf_counter()
        body = {
            "input_prefix": typed,
            "input_suffix": AFTER,
            "n_predict": 128,
            "stream": True,
            "ignore_eos": True,
            "temperature": 0,
        }
        async with contextlib.aclosing(place.ask("/infill", body, self.name)) as events:
            async for event in events:
                if b'"content":"' in event:
                    self.first_s.append(time.perf_counter() - began)
                    break
            async for _ in events:
                pass


def turns(name: str, *, ignore_eos: bool) -> Iterator[dict[str, Any]]:
    """An agent's: a long common beginning, and something new each time."""
    for number in itertools.count():
        ask = f"{SOURCE}\nTurn {number} of {name}: what comes next?"
        yield {"messages": [{"role": "user", "content": ask}], "tools": TOOLS, "max_tokens": 128, "stream": True,
               "ignore_eos": ignore_eos, "temperature": 0, "timings_per_token": True}  # fmt: skip


async def keep_asking(
    place: Town, client: str, evaluated: Counter[str], number: int, *, ignore_eos: bool = True
) -> None:
    """One after the other. evaluated: the tokens that the device spent on each client, from its prompts and answers.
    ignore_eos: a ban, for which the host must choose the tokens."""
    for body in turns(f"{client} {number}", ignore_eos=ignore_eos):
        num_before = 0
        async with contextlib.aclosing(place.ask("/v1/chat/completions", body, client)) as events:
            async for event in events:
                if timings := json.loads(event).get("timings"):  # what came from the cache isn't in prompt_n
                    num_tokens = timings["prompt_n"] + timings["predicted_n"]
                    evaluated[client] += num_tokens - num_before
                    num_before = num_tokens


@contextlib.asynccontextmanager
async def living(*lives: Any) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(life) for life in lives]
    try:
        yield
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def elsewhere(place: Town, *, clients: int, requests: int, ignore_eos: bool = True) -> AsyncIterator[None]:
    """Clients that keep so many requests in flight, in a process of their own: their work isn't the gateway's."""
    told = json.dumps([place.url, place.is_fair, clients, requests, ignore_eos])
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "bench.many", "clients", told)
    try:
        yield
    finally:
        process.kill()
        await process.wait()


async def be_clients(url: str, is_fair: bool, clients: int, requests: int, ignore_eos: bool) -> None:
    """Until killed."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        place = Town(session, url, is_fair)
        asking = [
            keep_asking(place, f"client {i % clients}", Counter(), i, ignore_eos=ignore_eos) for i in range(requests)
        ]
        await asyncio.gather(*asking, asyncio.Event().wait())


# measurements


def p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20)[-1]


async def typing(device: Device, *, is_fair: bool, num_agent: int) -> tuple[float, float]:
    """(p95 of the time to a keystroke's first token in seconds, tokens a second of the device)."""
    editors = [Editor(f"editor_{i}", device.pause_s) for i in range(NUM_EDITORS)]
    chances = [random.Random(i) for i in range(NUM_EDITORS)]
    async with town(device, is_fair=is_fair) as place, elsewhere(place, clients=1, requests=num_agent):
        await asyncio.sleep(device.window_s / 3)  # until the first prompts of an agent are evaluated
        before, began = place.runner.num_tokens, time.perf_counter()
        async with living(*map(Editor.type, editors, [place] * NUM_EDITORS, chances)):
            await asyncio.sleep(2 * device.window_s)
            rate = (place.runner.num_tokens - before) / (time.perf_counter() - began)
    firsts = [second for editor in editors for second in editor.first_s]
    print(f"    {len(firsts)} of {sum(editor.num_keystrokes for editor in editors)} keystrokes were answered")
    return p95(firsts), rate


async def fairness(device: Device, *, is_fair: bool) -> float:
    """Jain's index of the tokens that were evaluated for clients, of whom one sends ten times as many requests. All
    have more to ask than there are places, and looking begins once each was served: who finds the device idle has it
    for itself."""
    evaluated: Counter[str] = Counter()
    async with town(device, is_fair=is_fair) as place:
        lives = [
            keep_asking(place, f"client {i}", evaluated, number)
            for i in range(NUM_CLIENTS)
            for number in range(80 if i == 0 else 8)
        ]
        async with living(*lives):
            await until_served(evaluated, device)
            evaluated.clear()
            await asyncio.sleep(2 * device.window_s)
            shares = [evaluated[f"client {i}"] for i in range(NUM_CLIENTS)]
    return sum(shares) ** 2 / (NUM_CLIENTS * sum(share**2 for share in shares))


async def until_served(evaluated: Counter[str], device: Device) -> None:
    """Each of the clients, at least once."""
    for _ in range(100):
        if len(evaluated) == NUM_CLIENTS:
            return
        await asyncio.sleep(device.window_s / 20)
    raise RuntimeError(f"only {sorted(evaluated)} are served")


async def burst(device: Device, *, is_fair: bool) -> int:
    """Tokens that the device spends on twenty keystrokes, 100 ms apart."""
    async with town(device, is_fair=is_fair) as place:
        before = place.runner.num_tokens
        editor = Editor("editor", 0.0)
        typed = f"{SOURCE}def editor(values):\n    total"
        tasks = []
        for letter in " = sum(values) / len":
            typed += letter
            tasks.append(asyncio.create_task(editor._complete(place, typed)))
            await asyncio.sleep(0.1)
        await asyncio.gather(*tasks)
        return place.runner.num_tokens - before


async def busy(device: Device, chooser: str) -> float:
    """The share of the time that the device works, with more to do than fits into its batch. chooser: of the tokens,
    device or host."""
    async with town(device, is_fair=True) as place:
        runner = place.runner
        assert isinstance(runner, PacedRunner)
        async with elsewhere(place, clients=8, requests=BATCH + 8, ignore_eos=chooser == "host"):
            await asyncio.sleep(device.window_s / 2)
            before, began = runner.busy_s, time.perf_counter()
            await asyncio.sleep(device.window_s)
            return (runner.busy_s - before) / (time.perf_counter() - began)


async def tell_typing(device: Device) -> None:
    print(f"{NUM_EDITORS} editors type, an agent has {NUM_IN_FLIGHT} requests in flight:")
    alone, _ = await typing(device, is_fair=True, num_agent=0)
    ours, our_rate = await typing(device, is_fair=True, num_agent=NUM_IN_FLIGHT)
    theirs, their_rate = await typing(device, is_fair=False, num_agent=NUM_IN_FLIGHT)
    print(f"  first token of a keystroke, p95, without the agent: {1000 * alone:.0f} ms")
    print(f"  with it: {ours / alone:.2f} x; first come, first served: {theirs / alone:.1f} x")
    print(f"  tokens a second of first come, first served: {our_rate / their_rate:.3f} x", flush=True)


async def tell_fairness(device: Device) -> None:
    ours, theirs = await fairness(device, is_fair=True), await fairness(device, is_fair=False)
    print(f"{NUM_CLIENTS} clients, one sends ten times as many requests:")
    print(f"  Jain's index of their tokens: {ours:.3f}; first come, first served: {theirs:.3f}", flush=True)


async def tell_burst(device: Device) -> None:
    spent, everything = await burst(device, is_fair=True), await burst(device, is_fair=False)
    print("20 keystrokes, 100 ms apart:")
    print(f"  {spent / everything:.2f} of the tokens of serving them all, which are {everything}", flush=True)


async def tell_busy(device: Device) -> None:
    if device is PACED:
        print(f"with {BATCH + 8} requests in flight:")
        for chooser in ("device", "host"):
            share = await busy(device, chooser)
            print(f"  the device works {100 * share:.1f} % of the time, tokens chosen on the {chooser}", flush=True)


TOLD = {"typing": tell_typing, "fairness": tell_fairness, "burst": tell_burst, "busy": tell_busy}


async def main(words: Sequence[str]) -> None:
    configure("warning", "text")
    gc.freeze()  # as gateway.cli does
    match words:
        case ["clients", told]:
            await be_clients(*json.loads(told))
        case [("paced" | "numpy") as name, *wanted]:
            device = PACED if name == "paced" else NUMPY
            print(f"on {device.name}")
            for tell in (TOLD[each] for each in wanted or TOLD):
                await tell(device)
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
