"""What the engine's thread tells the event loop."""

from __future__ import annotations

import asyncio
import threading
from functools import partial

from backends.engine.teller import Teller


def tellers() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "engine teller"}


async def test_calls_are_made_on_the_loop_in_order_and_the_thread_ends_behind_them() -> None:
    before = tellers()
    teller = Teller(asyncio.get_running_loop())
    (thread,) = tellers() - before
    made: list[tuple[int, threading.Thread]] = []
    for number in range(100):
        teller.call_soon(partial(lambda number: made.append((number, threading.current_thread())), number))
    teller.stop()
    teller.stop()  # does no harm
    await asyncio.to_thread(thread.join, 5)
    await asyncio.sleep(0)
    assert made == [(number, threading.current_thread()) for number in range(100)]
    assert not thread.is_alive()


def test_a_closed_loop_is_told_nothing() -> None:
    before, loop = tellers(), asyncio.new_event_loop()
    teller = Teller(loop)
    (thread,) = tellers() - before
    loop.close()
    teller.call_soon(lambda: None)
    teller.stop()
    thread.join(5)
    assert not thread.is_alive()
