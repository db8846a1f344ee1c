"""Real children, really killed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from backends.errors import BackendFailed
from backends.process import Process

ROOT = Path(__file__).parents[2]


def python(source: str) -> list[str]:
    return [sys.executable, "-u", "-c", textwrap.dedent(source)]


def is_alive(pid: int) -> bool:
    """A zombie is dead: somebody only has to notice."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # gone, or going while it is read
        return False


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def until(condition: Callable[[], object]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came true")


async def test_the_log_is_both_streams_line_by_line() -> None:
    lines: list[str] = []
    process = Process(
        python("import sys; print('out'); print('err', file=sys.stderr); print('x' * 200_000); print('last', end='')"),
        on_line=lines.append,
    )
    await process.start()
    assert await process.wait() == 0
    assert [line[:10] for line in lines] == ["out", "err", "x" * 10, "last"]
    assert process.last_words(1) == "last"
    assert not process.is_running


async def test_only_the_last_lines_are_kept() -> None:
    process = Process(python("for i in range(100): print(i)"), log_lines=3)
    await process.start()
    await process.wait()
    assert list(process.log) == ["97", "98", "99"]


@pytest.mark.parametrize(("source", "code"), [("raise SystemExit(7)", 7), ("import os; os.kill(os.getpid(), 9)", 137)])
async def test_the_exit_code_is_the_command_s_own(source: str, code: int) -> None:
    process = Process(python(source))
    await process.start()
    assert await process.wait() == code


async def test_a_command_that_does_not_exist_fails_in_words() -> None:
    with pytest.raises(BackendFailed, match="/no/such/worker could not be started"):
        await Process(["/no/such/worker"]).start()


FORKS = """
    import os, signal, subprocess, sys, time
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen([sys.executable, '-c', 'import signal, time; '
        'signal.signal(signal.SIGTERM, signal.SIG_IGN); print("deaf", flush=True); time.sleep(600)'])
    print('child', child.pid)
    time.sleep(600)
"""


async def started_family(process: Process) -> list[int]:
    """[worker, its child], both deaf to SIGTERM."""
    await process.start()
    await until(lambda: "deaf" in process.log and len(process.log) == 2)
    (line,) = [line for line in process.log if line.startswith("child")]
    assert process.group is not None
    return [process.group, int(line.split()[1])]


async def test_stop_ends_the_whole_group_even_when_it_ignores_sigterm() -> None:
    process = Process(python(FORKS), grace_s=0.2)
    family = await started_family(process)
    await process.stop()
    assert not any(map(is_alive, family))
    await process.stop()  # safe twice


async def test_what_a_killed_worker_leaves_behind_is_swept() -> None:
    process = Process(python(FORKS), grace_s=0.2)
    worker, child = await started_family(process)
    os.kill(worker, signal.SIGKILL)
    assert await process.wait() == 137
    assert not is_alive(child)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has subreapers")
async def test_so_is_what_went_to_a_session_of_its_own() -> None:
    process = Process(
        python(FORKS.replace("time.sleep(600)'])", "time.sleep(600)'], start_new_session=True)")), grace_s=0.2
    )
    worker, child = await started_family(process)
    assert os.getpgid(child) != worker
    os.kill(worker, signal.SIGKILL)
    assert await process.wait() == 137
    assert not is_alive(child)


async def test_the_group_is_in_our_session_and_the_nanny_is_in_neither_group() -> None:
    process = Process(python("import time; print('up'); time.sleep(600)"), grace_s=0.2)
    await process.start()
    assert process.group is not None
    nanny = parent_of(process.group)
    assert {os.getsid(pid) for pid in (process.group, nanny)} == {os.getsid(0)}
    assert os.getpgid(process.group) == process.group
    assert os.getpgid(nanny) == nanny
    await process.stop()


async def test_the_group_ends_with_its_nanny() -> None:
    process = Process(python(FORKS), grace_s=0.2)
    family = await started_family(process)
    os.kill(parent_of(family[0]), signal.SIGKILL)
    await process.wait()
    await until(lambda: not any(map(is_alive, family)))


async def test_the_group_dies_with_us_even_when_we_are_killed() -> None:
    supervisor = python(f"""
        import asyncio
        from backends.process import Process
        async def main():
            process = Process({python(FORKS)!r}, grace_s=0.2, on_line=lambda line: print(line, flush=True))
            await process.start()
            print("group", process.group, flush=True)
            await process.wait()
        asyncio.run(main())
    """)
    us = await asyncio.create_subprocess_exec(*supervisor, stdout=asyncio.subprocess.PIPE, cwd=ROOT)
    assert us.stdout is not None
    words = [(await us.stdout.readline()).split() for _ in range(3)]
    family = [int(line[1]) for line in words if line[0] in (b"group", b"child")]
    us.kill()
    await us.wait()
    assert len(family) == 2
    await until(lambda: not any(map(is_alive, family)))


async def test_a_signal_may_come_too_late() -> None:
    """While the nanny, who has buried the group, is still there."""
    process = Process(python("import time; time.sleep(600)"))
    await process.start()
    assert process.group is not None
    ending = asyncio.create_task(process.wait())
    os.kill(process.group, signal.SIGKILL)
    while process.is_running:
        process.signal(signal.SIGKILL)
        await asyncio.sleep(0)
    assert await ending == 137


async def test_a_signal_reaches_the_whole_group() -> None:
    process = Process(python(FORKS), grace_s=0.2)
    family = await started_family(process)
    process.signal(signal.SIGKILL)
    await process.wait()
    assert not any(map(is_alive, family))
