"""A unix socket's path that only this user can reach, and the sweeping of those that dead gateways left behind."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from backends.errors import BackendFailed

_MAX_BYTES = 107  # sun_path in <sys/un.h>, less its final zero


class PrivateSocket:
    """Makes a folder of mode 0700 for it."""

    def __init__(self) -> None:
        """Raises BackendFailed where the path would be too long for a socket."""
        sweep()
        self._folder = Path(tempfile.mkdtemp(prefix=f"{_prefix()}{os.getpid()}-"))
        self.path = self._folder / "worker.sock"
        if len(os.fsencode(self.path)) > _MAX_BYTES:
            self.remove()
            raise BackendFailed(f"{self.path} is too long for a socket: set TMPDIR to a shorter one")

    def remove(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


def sweep() -> None:
    """A gateway that was killed could remove nothing."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_prefix()}*"):
        pid = folder.name.removeprefix(_prefix()).partition("-")[0]
        if pid.isdecimal() and not _is_alive(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def _prefix() -> str:
    return f"dragoman-{os.getuid()}-"


def _is_alive(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False
