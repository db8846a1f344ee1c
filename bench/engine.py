"""The engine against the bare runner, in one run: ratios, because machines differ and are noisy.

    python -m bench.engine

The floor is the runner called in a loop at the same batch, greedy, with nothing around it.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
import uuid
from collections.abc import Sequence

import numpy as np

from backends.base import ModelInfo
from backends.engine import demo
from backends.engine.backend import EngineBackend
from backends.engine.llama_config import read_config
from backends.engine.model_info import read_model_info
from backends.engine.numpy_runner import NumpyRunner
from backends.engine.options import EngineOptions
from backends.engine.runner import Decoded, Floats, Ints, Launched, ModelRunner, PrefillRow, Say, Traits
from backends.events import Finished, Text
from backends.request import GenerateRequest, Sampling, TextPrompt
from bench.sampler import language_like

PROMPT_TOKENS = 16
NEW_TOKENS = 192
BLOCK_SIZE = 16
STEP_TOKENS = EngineOptions(demo.FOLDER).step_tokens
REPEATS = 5
GREEDY = Sampling(temperature=0.0)
PLAIN = Sampling(temperature=0.8, top_k=40, top_p=0.95, min_p=0.05)


class IdleRunner:
    """Takes no time: what is left is the engine's own."""

    def __init__(self, vocab_size: int, window: int, max_batch_size: int) -> None:
        self.vocab_size = vocab_size
        self.window = window
        self.max_batch_size = max_batch_size
        self.traits = Traits()
        self._logits = language_like(np.random.default_rng(0), max_batch_size, vocab_size)

    @classmethod
    def load(cls, options: EngineOptions, _say: Say) -> tuple[ModelRunner, ModelInfo]:
        info = read_model_info(options.folder)
        return cls(read_config(options.folder).vocab_size, info.window, options.max_batch_size), info

    def allocate_kv(self, num_blocks: int, block_size: int) -> None: ...

    def prefill(self, rows: Sequence[PrefillRow]) -> list[Floats]:
        return [self._logits[row.slot, None].copy() for row in rows]

    def launch(
        self, tokens: Ints, positions: Ints, block_tables: Sequence[Ints], slots: Sequence[int], samplings: object
    ) -> Launched:
        return lambda: Decoded(self._logits[: len(slots)])

    def close(self) -> None: ...


def prompt(seed: int, length: int = PROMPT_TOKENS) -> tuple[int, ...]:
    return tuple(int(token) for token in np.random.default_rng(seed).integers(300, 4000, length))


def floor(runner: NumpyRunner, batch: int) -> float:
    """Tokens a second of the bare runner."""
    width = -(-(PROMPT_TOKENS + NEW_TOKENS) // BLOCK_SIZE)
    tables = [np.arange(i * width, (i + 1) * width, dtype=np.int32) for i in range(batch)]
    began = time.perf_counter()
    rows = [PrefillRow(np.array(prompt(i), np.int32), 0, tables[i], i) for i in range(batch)]
    tokens = np.array([logits[-1].argmax() for logits in runner.prefill(rows)], np.int32)
    for step in range(NEW_TOKENS - 1):
        positions = np.full(batch, PROMPT_TOKENS + step, np.int32)
        tokens = runner.decode(tokens, positions, tables).argmax(-1).astype(np.int32)
    return batch * NEW_TOKENS / (time.perf_counter() - began)


def request(tokens: Sequence[int], new_tokens: int = NEW_TOKENS, sampling: Sampling = GREEDY) -> GenerateRequest:
    return GenerateRequest(
        id=uuid.uuid4().hex,
        prompts=(TextPrompt((tuple(tokens),), add_special=False),),
        max_tokens=new_tokens,
        ignore_eos=True,
        cache_prompt=False,
        sampling=sampling,
    )


async def generate(engine: EngineBackend, asked: GenerateRequest) -> tuple[float, Finished]:
    """When the first text came (perf_counter seconds), and the end."""
    first = 0.0
    async with contextlib.aclosing(engine.generate(asked)) as events:
        async for batch in events:
            for event in batch:
                if isinstance(event, Text) and not first:
                    first = time.perf_counter()
                if isinstance(event, Finished):
                    return first, event
    raise RuntimeError("the stream ended without an end")


async def together(engine: EngineBackend, batch: int, sampling: Sampling = GREEDY) -> float:
    began = time.perf_counter()
    await asyncio.gather(*(generate(engine, request(prompt(i), sampling=sampling)) for i in range(batch)))
    return batch * NEW_TOKENS / (time.perf_counter() - began)


async def one_after_the_other(engine: EngineBackend, number: int) -> float:
    began = time.perf_counter()
    for i in range(number):
        await generate(engine, request(prompt(i)))
    return number * NEW_TOKENS / (time.perf_counter() - began)


async def short_behind_long(engine: EngineBackend) -> tuple[float, float]:
    """(time to first token of a short prompt that comes while 2,000 tokens prefill, time of one chunk), in seconds."""
    long = asyncio.create_task(generate(engine, request(prompt(1, 2000), 1)))
    began = time.perf_counter()
    await asyncio.sleep(0.005)
    asked = time.perf_counter()
    first, _ = await generate(engine, request(prompt(2), 2))
    _, end = await long
    num_chunks = -(-2000 // STEP_TOKENS)
    return first - asked, (end.timings.prefill_s or time.perf_counter() - began) / num_chunks


async def second_turn(engine: EngineBackend, seed: int) -> tuple[float, float]:
    """Times to first token of a 1,500-token history and of the turn after it, in seconds."""
    history = prompt(seed, 1500)
    times = []
    for tokens in (history, (*history, *prompt(seed + 1))):
        asked = request(tokens, 1)
        asked.cache_prompt = True
        began = time.perf_counter()
        first, _ = await generate(engine, asked)
        times.append(first - began)
    return times[0], times[1]


async def against_the_floor(engine: EngineBackend, runner: NumpyRunner, batch: int, sampling: Sampling) -> float:
    """Prints a row; returns tokens a second."""
    pairs = [(await together(engine, batch, sampling), floor(runner, batch)) for _ in range(REPEATS)]
    rate = statistics.median(ours for ours, _ in pairs)
    ratio = statistics.median(ours / bare for ours, bare in pairs)
    own_ms = 1000 * statistics.median(batch / ours - batch / bare for ours, bare in pairs)
    kind = "greedy" if sampling is GREEDY else "temperature, top-k, top-p, min-p"
    print(f"| {batch} sequences, {kind} | {rate:.0f} | {ratio:.2f} | {own_ms:.2f} ms |", flush=True)
    return rate


async def by_itself(sampling: Sampling) -> float:
    """Seconds that the engine spends on a step of 32 sequences, readers included: the best of a few runs."""
    engine = EngineBackend(EngineOptions(demo.FOLDER), IdleRunner.load)
    await engine.start()
    rate = max([await together(engine, 32, sampling) for _ in range(REPEATS)])
    await engine.stop()
    return 32 / rate


async def main() -> None:
    engine = EngineBackend(EngineOptions(demo.FOLDER))
    await engine.start()
    runner = NumpyRunner.load(demo.FOLDER, max_batch_size=32)
    runner.allocate_kv(1024, BLOCK_SIZE)
    await together(engine, 2)
    print("| what | tokens/s | of the floor | the engine's own time a step |\n|---|---|---|---|")
    for batch in (1, 8):
        await against_the_floor(engine, runner, batch, GREEDY)
    at_once = await against_the_floor(engine, runner, 32, GREEDY)
    await against_the_floor(engine, runner, 32, PLAIN)
    for kind, sampling in (("greedy", GREEDY), ("plain sampling", PLAIN)):
        print(
            f"a step of 32 sequences on a runner that takes no time, {kind}: {1e3 * await by_itself(sampling):.2f} ms"
        )
    serial = await one_after_the_other(engine, 32)
    print(f"\n32 clients at once over one after the other: {at_once / serial:.1f} times")
    behind = [await short_behind_long(engine) for _ in range(REPEATS)]
    print(f"first token of a short prompt behind 2,000: {statistics.median(a / b for a, b in behind):.2f} chunks")
    turns = [await second_turn(engine, 100 + 10 * i) for i in range(REPEATS)]
    print(
        f"first token of a second turn on 1,500 tokens, of the first: {statistics.median(b / a for a, b in turns):.2f}"
    )
    await engine.stop()


if __name__ == "__main__":
    asyncio.run(main())
