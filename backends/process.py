"""A supervised child: its own process group, its log's tail, and an end that is certain.

Owns one run of one command. Knows nothing of what the command serves; restarting is its owner's affair.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import os
import signal
import sys
from asyncio.subprocess import PIPE
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from backends.errors import BackendFailed

_NANNY = Path(__file__).with_name("nanny.py")
_MAX_LINE = 10_000  # characters of a log line that are kept

Pipe = TypeVar("Pipe", asyncio.StreamReader, asyncio.StreamWriter)


class Process:
    """on_line: called with each line of the child's log (stdout and stderr together), in order.

    grace_s: how long the group may take to end after SIGTERM before SIGKILL. log_lines: how many are kept.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        on_line: Callable[[str], None] = lambda _line: None,
        grace_s: float = 10.0,
        log_lines: int = 1000,
    ) -> None:
        self.command = list(command)
        self.log: deque[str] = deque(maxlen=log_lines)
        self.group: int | None = None  # the process group's id once started
        self._env = env
        self._grace_s = grace_s
        self._on_line = on_line
        self._nanny: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._guarding: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Raises BackendFailed when the command can't be run at all."""
        nanny = await asyncio.create_subprocess_exec(
            sys.executable, "-I", str(_NANNY), str(self._grace_s), *self.command,
            stdin=PIPE, stdout=PIPE, stderr=PIPE, env=self._env,
        )  # fmt: skip
        self._nanny = nanny
        self._reading = asyncio.create_task(self._read_log(_open(nanny.stderr)))
        first = await _open(nanny.stdout).readline()
        if not first:
            await self.wait()
            raise BackendFailed(f"{self.command[0]} could not be started: {self.last_words(1)}")
        self.group = int(first)
        self._guarding = asyncio.create_task(self._outlive(_open(nanny.stdout), self.group))

    async def wait(self) -> int:
        """The command's exit code, 128 + n when signal n ended it. The log has been read to its end by then.

        Raises RuntimeError before start().
        """
        if self._nanny is None or self._reading is None:
            raise RuntimeError("the process was never started")
        code = await self._nanny.wait()
        await self._reading
        return code

    @property
    def is_running(self) -> bool:
        return self._nanny is not None and self._nanny.returncode is None

    def signal(self, signum: signal.Signals) -> None:
        """To the whole group, if anybody of it is left: the nanny goes after it, and that she went is learnt later."""
        if self.is_running and self.group is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.group, signum)

    async def stop(self) -> None:
        """Ends the whole group: SIGTERM, the grace, SIGKILL. Safe to call in any state."""
        if self._nanny is None:
            return
        _open(self._nanny.stdin).close()
        await self.wait()

    def last_words(self, num_lines: int = 20) -> str:
        return "\n".join(list(self.log)[-num_lines:])

    async def _outlive(self, stream: asyncio.StreamReader, group: int) -> None:
        """The nanny alone holds this pipe: it closes when she ends, who may have been killed before the group was."""
        await stream.read()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)

    async def _read_log(self, stream: asyncio.StreamReader) -> None:
        """In pieces, not by readline: a line may be longer than any buffer."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        rest = ""
        while piece := await stream.read(65_536):
            *lines, rest = (rest + decoder.decode(piece)).split("\n")
            rest = rest[:_MAX_LINE]
            for line in lines:
                self._note(line)
        if rest:
            self._note(rest)

    def _note(self, line: str) -> None:
        line = line.rstrip("\r")[:_MAX_LINE]
        self.log.append(line)
        self._on_line(line)


def _open(stream: Pipe | None) -> Pipe:
    """asyncio types every pipe as optional; ours are always there."""
    if stream is None:
        raise RuntimeError("a pipe is missing")
    return stream
