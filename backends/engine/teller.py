"""From the engine's thread to the event loop, without a pause for the engine.

To wake a loop takes a system call, and with it the interpreter's lock: the loop would go on with its own work while
the engine, with its device idle, waits for the lock to come back. So another thread does the waking, once the engine
lets go of the lock by itself: it has something to wait for.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from queue import SimpleQueue


class Teller:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        threading.Thread(target=self._tell, name="engine teller", daemon=True).start()

    def call_soon(self, call: Callable[[], None]) -> None:
        """On the event loop, in the order of these calls. Doesn't block."""
        self._calls.put(call)

    def stop(self) -> None:
        """Once what came before has been told."""
        self._calls.put(None)

    def _tell(self) -> None:
        while (call := self._calls.get()) is not None:
            with contextlib.suppress(RuntimeError):  # a closed loop has nobody left to be told
                self._loop.call_soon_threadsafe(call)
