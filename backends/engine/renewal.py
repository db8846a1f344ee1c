"""The process begun anew because a device hangs: nothing else lets go of it. But not for ever.

All that a process knows ends with it. So the hangs are handed on in its environment, and are forgotten when somebody
starts Dragoman again.
"""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping

HANGS = "DRAGOMAN_HANGS"
"""When there was one, in this process and in those that it was before: the monotonic clock's seconds, and spaces."""

WITHIN_S = 3600.0
"""A device that hangs at once needs minutes to be loaded, and others until that is noticed."""


def num_hangs(now: float, environment: MutableMapping[str, str] = os.environ) -> int:
    """Notes one more. Returns how many there were within the last hour."""
    moments = [*map(float, environment.get(HANGS, "").split()), now]
    recent = [moment for moment in moments if now - moment < WITHIN_S]
    environment[HANGS] = " ".join(map(str, recent))
    return len(recent)


def begin_anew() -> None:
    """With the same command and process id. Whatever hangs ends with its thread, and lets go of its device."""
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - it is our own command
