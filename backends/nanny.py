"""Runs one command and takes its whole process group down when the parent is gone, however it went.

    python nanny.py GRACE_S COMMAND [ARGUMENT …]

A worker has children of its own that outlive it: vLLM's engine goes on for minutes after its API server was killed,
and a parent-death signal reaches only the direct child. So the nanny stands between: it starts the command as the
leader of a new process group and waits at the other end of a pipe, its stdin. When the pipe closes, because the parent
closed it or died, even by SIGKILL, it ends the group: SIGTERM, a grace, SIGKILL. The group is swept in the same way
when the command ends by itself. On Linux it adopts what the command's processes leave behind, so that those that went
to a group of their own are swept too, and the dead don't count as living where no init buries them.

The group stays in the parent's session: Linux schedules each session as one (sched_autogroup), and vLLM's engine, which
spins, has kept a gateway in another session from running for seconds.

Says the group's id in one line on stdout; the command writes to the nanny's stderr. Exits as the command did (128 + n
for signal n). Imports nothing but the standard library: it must not be able to fail.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

POLL_S = 0.05
PR_SET_CHILD_SUBREAPER = 36  # <linux/prctl.h>


def main(grace_s: float, command: list[str]) -> int:
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)  # the pipe alone decides
    os.setpgid(0, 0)  # Ctrl-C in the terminal is for the gateway, which then ends its children in order
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    child = subprocess.Popen(  # noqa: S603
        command,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        preexec_fn=os.setpgrp,  # noqa: PLW1509 (there is no other thread)
        restore_signals=True,
    )
    print(child.pid, flush=True)
    while child.poll() is None and not _parent_is_gone(POLL_S):
        bury(child)
    end_group(child, grace_s)
    while orphans := adopted(child):  # they have children of their own, perhaps
        for pid in orphans:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _parent_is_gone(timeout_s: float) -> bool:
    readable, _, _ = select.select([0], [], [], timeout_s)
    return bool(readable) and os.read(0, 1) == b""


def end_group(child: subprocess.Popen[bytes], grace_s: float) -> None:
    """The child may have ended already; what it started may still be there."""
    if _signal(child.pid, signal.SIGTERM):
        deadline = time.monotonic() + grace_s
        while _group_is_alive(child) and time.monotonic() < deadline:
            time.sleep(POLL_S)
    _signal(child.pid, signal.SIGKILL)
    child.wait()


def _group_is_alive(child: subprocess.Popen[bytes]) -> bool:
    child.poll()  # a dead leader that nobody waited for still counts as a member
    bury(child)
    return _signal(child.pid, 0)


def bury(child: subprocess.Popen[bytes]) -> None:
    """The dead among the adopted. The command itself is Popen's to wait for."""
    for pid in adopted(child):
        os.waitpid(pid, os.WNOHANG)


def adopted(child: subprocess.Popen[bytes]) -> list[int]:
    try:
        pids = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    except FileNotFoundError:
        return []
    return [int(pid) for pid in pids if int(pid) != child.pid]


def _signal(group: int, signum: int) -> bool:
    """Is there anyone left to get it?"""
    try:
        os.killpg(group, signum)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    raise SystemExit(main(float(sys.argv[1]), sys.argv[2:]))
