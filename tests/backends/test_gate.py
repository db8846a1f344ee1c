"""The gate before a server: order, places kept, and what answers are charged."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from backends.events import Finished, Text, Usage
from backends.fair_queue import PATIENCE, QUANTUM
from backends.gate import TYPING_ANSWERS, Gate
from backends.request import GenerateRequest, Intent, TextPrompt


def ask(client: str = "", intent: Intent = Intent.CHAT, **options: Any) -> GenerateRequest:
    return GenerateRequest(id=client, prompts=(TextPrompt(("x",)),), intent=intent, client=client, **options)


class Crowd:
    """Visitors of a gate, who stay until they are told to go."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.inside: dict[str, asyncio.Event] = {}
        self.entered: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def come(self, name: str, request: GenerateRequest, num_tokens: int = 1) -> None:
        async def visit() -> None:
            async with self.gate.place(request.intent, request.client, request.priority) as place:
                place.observe([Finished(0, "end", Usage(prompt_tokens=num_tokens))])
                self.entered.append(name)
                self.inside[name] = asyncio.Event()
                await self.inside[name].wait()

        self.tasks[name] = asyncio.create_task(visit())
        await settle()

    async def go(self, name: str) -> None:
        self.inside.pop(name).set()
        await settle()

    async def give_up(self, name: str) -> None:
        self.tasks[name].cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.tasks[name]
        await settle()


async def settle() -> None:
    """All that can run has run: nothing here waits for anything but the crowd."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_without_a_limit_nobody_waits() -> None:
    crowd = Crowd(Gate())
    for i in range(100):
        await crowd.come(str(i), ask())
    assert len(crowd.entered) == 100


async def test_clients_take_turns_for_the_places_that_there_are() -> None:
    crowd = Crowd(Gate(1))
    for i in range(5):
        await crowd.come(f"greedy {i}", ask("greedy"))
    await crowd.come("modest", ask("modest"))
    await crowd.go("greedy 0")
    await crowd.go(crowd.entered[-1])
    assert "modest" in crowd.entered[:3]


async def test_an_answer_that_was_long_is_paid_for_afterwards() -> None:
    crowd = Crowd(Gate(2))
    await crowd.come("short 0", ask("short"))
    await crowd.come("long 0", ask("long"), num_tokens=3 * QUANTUM)
    for i in range(1, 4):
        await crowd.come(f"long {i}", ask("long"))
        await crowd.come(f"short {i}", ask("short"))
    for i in range(3):
        await crowd.go(f"short {i}")
    assert crowd.entered[2:] == ["short 1", "short 2", "short 3"]


async def test_the_last_places_are_kept_for_completions() -> None:
    crowd = Crowd(Gate(16))
    for i in range(20):
        await crowd.come(str(i), ask(intent=Intent.AGENT))
    assert len(crowd.entered) == 14
    await crowd.come("typed", ask("editor", Intent.COMPLETION))
    assert crowd.entered[-1] == "typed"


async def test_of_few_places_one_is_kept_while_somebody_types() -> None:
    crowd = Crowd(Gate(2))
    for i in range(TYPING_ANSWERS + 10):
        await crowd.come(f"agent {i}", ask("agent", Intent.AGENT))
    assert len(crowd.inside) == 2
    await crowd.come("first", ask("editor", Intent.COMPLETION))
    assert "first" not in crowd.inside, "nothing is taken back"
    await crowd.go("agent 0")
    await crowd.go("first")
    for _ in range(5):
        await crowd.come("typed", ask("editor", Intent.COMPLETION))
        assert "typed" in crowd.inside
        await crowd.go("typed")
        assert len(crowd.inside) == 1
        await crowd.go(next(iter(crowd.inside)))
    for _ in range(TYPING_ANSWERS):
        if len(crowd.inside) == 2:
            break
        await crowd.go(next(iter(crowd.inside)))
    assert len(crowd.inside) == 2, "nobody has typed for long"


async def test_no_place_is_kept_where_the_config_says_so() -> None:
    crowd = Crowd(Gate(2, completion_slots=0))
    await crowd.come("typed", ask("editor", Intent.COMPLETION))
    await crowd.go("typed")
    for i in range(2):
        await crowd.come(str(i), ask("agent", Intent.AGENT))
    assert len(crowd.inside) == 2


async def test_who_gives_up_leaves_its_place_to_the_next_whether_it_waited_or_not() -> None:
    crowd = Crowd(Gate(1))
    for name in ("a", "b", "c"):
        await crowd.come(name, ask())
    await crowd.give_up("b")
    await crowd.give_up("a")
    assert crowd.entered == ["a", "c"]


async def test_a_place_that_is_granted_to_one_who_gave_up_in_the_same_moment_is_not_lost() -> None:
    crowd = Crowd(Gate(1))
    for name in ("a", "b", "c"):
        await crowd.come(name, ask())
    crowd.inside.pop("a").set()
    crowd.tasks["b"].cancel()
    await settle()
    assert crowd.entered == ["a", "c"]


async def test_bulk_has_its_turn_however_many_chats_come() -> None:
    crowd = Crowd(Gate(1))
    await crowd.come("first", ask())
    await crowd.come("bulk", ask(intent=Intent.BULK))
    for i in range(2 * PATIENCE[Intent.BULK]):
        await crowd.come(f"chat {i}", ask())
        await crowd.go(crowd.entered[-1])
        if crowd.entered[-1] == "bulk":
            return
    raise AssertionError("bulk starves")


async def test_tokens_count_as_they_come_and_once() -> None:
    gate = Gate(1)
    async with gate.place(Intent.CHAT, "a") as place:
        place.observe([Text(0, "x", (1, 2, 3)), Text(0, "y")])
        place.observe([Finished(0, "end", Usage(prompt_tokens=10, completion_tokens=4, cached_tokens=8))])
        assert place.num_charged == 6


async def test_an_answer_that_several_read_is_paid_for_by_all_of_them() -> None:
    """And by those who read it when the tokens come."""
    gate, paid_by = Gate(1), ["a", "b"]
    crowd = Crowd(gate)
    async with gate.place(Intent.CHAT, "a", paid_by=paid_by) as place:
        for client in "abc":
            await crowd.come(client, ask(client))
        place.charge(2 * QUANTUM)
        paid_by[:] = ["b"]
        place.charge(QUANTUM)
    await settle()
    for client in "ca":
        assert crowd.entered[-1] == client
        await crowd.go(client)
    assert crowd.entered[-1] == "b"
