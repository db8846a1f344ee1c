"""A Tenstorrent card's engine on the contract fake, paced at published step times: is the device ever kept waiting?

    python -m bench.card

The fake (tests/fakes/tt_metal) takes as long as Llama-3.1-8B on an N150 (tt-metal's models/tt_transformers/PERF.md of
26 February 2026) and holds the interpreter's lock while somebody waits for it, as ttnn does. It computes next to
nothing. Clients are in a process of their own and stream over HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import numpy as np

from backends.engine import demo
from backends.engine.runner import Floats, Ints, PrefillRow
from gateway import config as configuration
from gateway.app import running
from gateway.log import configure
from tests.fakes.card import HOME, Card, fake_card

DECODE_S = 1 / 22.3
"""A step of 32 users."""
PREFILL_S = 0.119
"""Of 128 tokens, in a batch of 32."""
ALONE_DECODE_S, ALONE_PREFILL_S = 1 / 28.3, 0.104
"""Of one user."""
NUM_CLIENTS = 32
NUM_TOKENS = 512
PROMPT_LENGTH = 100
LARGE_VOCABULARY = 128_256
KEYSTROKES = 15
CONFIG = f"""
listeners: [{{port: 0, persona: llamacpp}}]
models:
  card: {{backend: ttnn, hf_model: {demo.FOLDER}, tt_metal_home: {HOME}, max_seq_len: 1024, sampling: SAMPLING}}
log: {{level: error}}
"""


class Counting:
    """A network whose every token is the one before it plus one: costs nothing. vocab_size: of its logits."""

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size

    def allocate_kv(self, num_blocks: int, block_size: int) -> None: ...

    def prefill(self, rows: Sequence[PrefillRow]) -> list[Floats]:
        return [self._after(row.tokens[-1:]) for row in rows]

    def decode(self, tokens: Ints, *_where: object) -> Floats:
        return self._after(tokens)

    def _after(self, tokens: Ints) -> Floats:
        logits = np.zeros((len(tokens), self.vocab_size), np.float32)
        logits[np.arange(len(tokens)), 300 + (tokens - 299) % 3700] = 9.0
        return logits


@contextlib.asynccontextmanager
async def gateway(card: Card, *, vocab_size: int = 4096, sampling: str = "auto") -> AsyncIterator[str]:
    card.common.load_network = lambda *_: Counting(vocab_size)
    card.ttnn.MACHINE.chip = card.ttnn.Chip()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        path.write_text(CONFIG.replace("SAMPLING", sampling))
        async with running(configuration.load(path)) as here, aiohttp.ClientSession() as session:
            url = here.addresses[0].url
            (await stream(session, url, 1)).clear()  # it waits until the model is loaded
            card.ttnn.MACHINE.chip.decode_s, card.ttnn.MACHINE.chip.prefill_s = DECODE_S, PREFILL_S
            yield url


# the clients: `python -m bench.card URL NUMBER TOKENS`, one line of JSON


async def stream(session: aiohttp.ClientSession, url: str, num_tokens: int, seed: int = 0) -> dict[str, float]:
    prompt = np.random.default_rng(seed).integers(300, 4000, PROMPT_LENGTH).tolist()
    return await timed(session, f"{url}/completion", {"prompt": prompt, "n_predict": num_tokens})


async def timed(session: aiohttp.ClientSession, url: str, asked_for: dict[str, Any]) -> dict[str, float]:
    """When it was asked, its first and its last token (seconds on the machine's monotonic clock), and how many."""
    body = asked_for | {"temperature": 0, "stream": True, "cache_prompt": False}
    asked, first, number = time.monotonic(), 0.0, 0
    async with session.post(url, json=body) as answer:
        assert answer.status == 200, await answer.text()
        async for line in answer.content:
            if line.startswith(b"data:"):
                first = first or time.monotonic()
                number += 1
    return {"asked": asked, "first": first, "last": time.monotonic(), "tokens": number - 1}


async def clients(url: str, number: int, num_tokens: int) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        found = await asyncio.gather(*(stream(session, url, num_tokens, seed) for seed in range(number)))
    print(json.dumps(found))


async def in_their_own_process(url: str, number: int, num_tokens: int) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "bench.card", url, str(number), str(num_tokens)]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    try:
        out, _ = await process.communicate()
        found: list[dict[str, Any]] = json.loads(out)
        return found
    finally:
        if process.returncode is None:
            process.kill()


# measurements


async def lags(into: list[tuple[float, float]]) -> None:
    """When, and by how much a timer of the loop came late (seconds)."""
    while True:
        due = time.monotonic() + 0.002
        await asyncio.sleep(0.002)
        now = time.monotonic()
        into.append((now, now - due))


async def crowd(card: Card, sampling: str, vocab_size: int, num_tokens: int) -> tuple[float, float, float]:
    """Tokens a second of 32 clients in all; while all of them decode: the device's idle share, the loop's p99 lag."""
    async with gateway(card, vocab_size=vocab_size, sampling=sampling) as url:
        late: list[tuple[float, float]] = []
        watching = asyncio.create_task(lags(late))
        work: list[tuple[float, float]] = []
        chip = card.ttnn.MACHINE.chip
        begin = chip.work

        def noted(seconds: float) -> float:
            done_at: float = begin(seconds)
            work.append((time.monotonic(), chip.gaps[-1]))
            return done_at

        chip.work = noted
        found = await in_their_own_process(url, NUM_CLIENTS, num_tokens)
        watching.cancel()
    since, until = max(each["first"] for each in found) + DECODE_S, min(each["last"] for each in found) - DECODE_S
    idle_s = sum(gap for when, gap in work if since < when < until)
    rate = sum(each["tokens"] for each in found) / (max(e["last"] for e in found) - min(e["asked"] for e in found))
    lag_s = np.percentile([lag for when, lag in late if since < when < until], 99)
    return rate, idle_s / (until - since), float(lag_s)


async def keystrokes(card: Card) -> list[float]:
    """First tokens of an editor's requests beside 31 that decode, each in decode steps and prefills of its own."""
    async with gateway(card) as url, aiohttp.ClientSession(headers={"User-Agent": "an editor"}) as session:
        crowd = asyncio.create_task(in_their_own_process(url, NUM_CLIENTS - 1, NUM_TOKENS))
        await asyncio.sleep(2 * NUM_CLIENTS * PREFILL_S)  # all of them decode
        times = []
        for number in range(KEYSTROKES):
            await asyncio.sleep(0.1 + 0.011 * number)  # at another place of the step each time
            hole = {"input_prefix": f"def typed_{number}(a, ", "input_suffix": "):\n    return a + b\n", "n_predict": 2}
            one = await timed(session, f"{url}/infill", hole)
            times.append((one["first"] - one["asked"]) / (DECODE_S + PREFILL_S))
        crowd.cancel()
        await asyncio.gather(crowd, return_exceptions=True)
        return times


def one_at_a_time(card: Card, num_tokens: int) -> float:
    """Tokens a second of the lessons' server: prefill and decode by hand, batch 1, read at once."""
    common, generator, torch = card.common, card.generator, card.torch
    common.load_network = lambda *_: Counting(4096)
    mesh = card.ttnn.open_mesh_device(card.ttnn.MeshShape(1, 1), dispatch_core_config=None, trace_region_size=1)
    args, model, cache, _ = common.create_tt_model(
        mesh,
        True,
        1,
        lambda args: SimpleNamespace(num_decoders=args.n_layers),
        1024,
        common.PagedAttentionConfig(64, 17),
    )
    alone = generator.Generator([model], [args], mesh)
    mesh.chip.decode_s, mesh.chip.prefill_s = ALONE_DECODE_S, ALONE_PREFILL_S
    table = torch.from_numpy(np.arange(1, 17, dtype=np.int32)[None])
    prompt = torch.from_numpy(np.arange(300, 300 + PROMPT_LENGTH, dtype=np.int32)[None])
    began = time.monotonic()
    logits = alone.prefill_forward_text(
        prompt, page_table=table, kv_cache=[cache], prompt_lens=[PROMPT_LENGTH], empty_slots=[0], warmup_prefill=False
    )
    token = int(logits.numpy().argmax())
    for position in range(PROMPT_LENGTH, PROMPT_LENGTH + num_tokens - 1):
        inputs = torch.from_numpy(np.array([[token]], np.int32)), torch.from_numpy(np.array([position], np.int32))
        logits, _ = alone.decode_forward(*inputs, page_table=table, kv_cache=[cache])
        token = int(logits.numpy().argmax())
    card.ttnn.close_mesh_device(mesh)
    return num_tokens / (time.monotonic() - began)


async def main() -> None:
    configure("error", "text")
    with fake_card(HF_MODEL=str(demo.FOLDER)) as card:
        alone = one_at_a_time(card, NUM_TOKENS // 2)
        crowds = {
            "tokens chosen on the device": await crowd(card, "auto", 4096, NUM_TOKENS),
            f"on the host, of {LARGE_VOCABULARY:,}": await crowd(card, "host", LARGE_VOCABULARY, NUM_TOKENS // 4),
        }
        strokes = await keystrokes(card)
    bound = NUM_CLIENTS * ALONE_DECODE_S / DECODE_S
    print(f"| 32 clients | of one at a time (at most {bound:.1f}) | device idle | loop lag, p99 |\n|---|---|---|---|")
    for name, (rate, idle, lag_s) in crowds.items():
        print(f"| {name} | {rate / alone:.1f} | {idle:.1%} | {1000 * lag_s:.1f} ms |")
    worst, median = max(strokes), statistics.median(strokes)
    print(
        f"\nfirst token of a keystroke behind 31, in steps and prefills of its own: {median:.2f}, at worst {worst:.2f}"
    )


if __name__ == "__main__":
    asyncio.run(clients(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])) if len(sys.argv) > 1 else main())
