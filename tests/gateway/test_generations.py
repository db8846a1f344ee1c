"""One generation, several readers: shared answers, superseded keystrokes, and what happens when nobody reads."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from backends.base import BackendState
from backends.errors import BackendFailed
from backends.events import EventStream, Finished, Prefilled, Reasoning, Started, Text
from backends.request import GenerateRequest, TextPrompt
from gateway.generation import Unfinished
from gateway.generations import Generations
from gateway.traffic import Traffic
from tests.fakes import HELLO, Fails, Hangs, Script, ScriptedBackend, said
from tests.gateway.conftest import Connect, LogLines, config
from tests.gateway.test_group import settle
from tests.gateway.test_handler import until

CHAT = "/v1/chat/completions"
GREEDY = {"model": "demo", "messages": [{"role": "user", "content": "hi"}], "temperature": 0}
LONG = Script(said(*(f"{i} " for i in range(200))))


class Gate(ScriptedBackend):
    """After its first `num_free` events it waits until it is opened."""

    def __init__(self, script: Script = HELLO, num_free: int = 2) -> None:
        super().__init__(script)
        self.opened = asyncio.Event()
        self.num_free = num_free
        self.is_done = False

    async def generate(self, request: GenerateRequest) -> EventStream:
        try:
            async with contextlib.aclosing(super().generate(request)) as events:
                async for batch in events:
                    yield batch
        finally:
            self.is_done = True

    async def _misbehave(self, count: int | None) -> None:
        await super()._misbehave(count)
        if count is None or count >= self.num_free:
            await self.opened.wait()


def num_readers(traffic: Traffic) -> int:
    return sum(len(generation.readers) for generation in traffic.generations)


def has_asked(backend: ScriptedBackend, number: int) -> bool:
    return len(backend.requests) == number


def typing(prompt: str, **more: Any) -> dict[str, Any]:
    return {"model": "demo", "prompt": prompt, "max_tokens": 64, **more}


# shared


async def test_equal_greedy_requests_share_one_generation_and_each_has_its_own_rendering(
    connect: Connect, log_lines: LogLines
) -> None:
    backend = Gate()
    client = await connect(backend)
    whole = asyncio.create_task(client.post(CHAT, json=GREEDY))
    await until(lambda: backend.requests)
    streamed = await client.post(CHAT, json={**GREEDY, "stream": True})
    backend.opened.set()
    events = [line[6:] for line in (await streamed.text()).splitlines() if line.startswith("data: {")]
    text = "".join(json.loads(event)["choices"][0]["delta"].get("content", "") for event in events)
    answer = await (await whole).json()
    assert text == answer["choices"][0]["message"]["content"] == "Hello world"
    assert json.loads(events[0])["id"] != answer["id"]
    assert len(backend.requests) == 1
    lines = [line for line in log_lines if line["event"] == "request"]
    assert [line.get("shared_with") for line in lines].count(backend.requests[0].id) == 1


async def test_those_who_read_one_generation_share_its_costs_while_they_do(connect: Connect) -> None:
    backend = Gate()
    client = await connect(backend)

    def ask(agent: str) -> asyncio.Task[Any]:
        return asyncio.create_task(client.post(CHAT, json=GREEDY, headers={"User-Agent": agent}))

    first = ask("a")
    await until(lambda: backend.requests)
    (asked,) = backend.requests
    assert asked.paid_by == []
    others = [ask("b"), ask("b")]
    await until(lambda: [client[-1] for client in asked.paid_by] == ["a", "b"])
    first.cancel()
    await until(lambda: [client[-1] for client in asked.paid_by] == ["b"])
    backend.opened.set()
    assert [(await other).status for other in others] == [200, 200]


@pytest.mark.parametrize(("change", "num_generations"), [
    ({}, 1), ({"temperature": 0.7}, 2), ({"temperature": 0.7, "seed": 1}, 1), ({"max_tokens": 5}, 2),
    ({"user": "somebody else"}, 1),
])  # fmt: skip
async def test_only_what_must_be_answered_alike_is_shared(
    connect: Connect, traffic: Traffic, change: dict[str, Any], num_generations: int
) -> None:
    backend = Gate()
    client = await connect(backend)
    both = [{**GREEDY, **change}] * 2 if "max_tokens" not in change else [GREEDY, {**GREEDY, **change}]
    first = asyncio.create_task(client.post(CHAT, json=both[0]))
    await until(lambda: backend.requests)
    second = asyncio.create_task(client.post(CHAT, json=both[1]))
    await until(lambda: num_readers(traffic) == 2)
    backend.opened.set()
    texts = [(await (await task).json())["choices"][0]["message"]["content"] for task in (first, second)]
    assert texts == ["Hello world"] * 2
    assert len(backend.requests) == num_generations


async def test_one_reader_that_leaves_stops_nobody_else(connect: Connect, traffic: Traffic) -> None:
    backend = Gate()
    client = await connect(backend)
    leaving = await client.post(CHAT, json={**GREEDY, "stream": True})
    staying = await client.post(CHAT, json={**GREEDY, "stream": True})
    await until(lambda: num_readers(traffic) == 2)
    leaving.close()
    await until(lambda: num_readers(traffic) == 1)
    assert backend.num_closed == 0
    backend.opened.set()
    assert "[DONE]" in await staying.text()
    assert len(backend.requests) == 1


async def test_when_all_readers_have_left_the_generation_ends(connect: Connect) -> None:
    backend = Gate()
    client = await connect(backend)
    for response in [await client.post(CHAT, json={**GREEDY, "stream": True}) for _ in range(3)]:
        response.close()
    await until(lambda: backend.num_closed == 1)


async def test_an_error_reaches_every_reader_behind_what_came_before(connect: Connect) -> None:
    backend = Gate()
    backend.fault = Fails(BackendFailed("it broke"), after=3)
    client = await connect(backend)
    responses = [await client.post(CHAT, json={**GREEDY, "stream": True}) for _ in range(2)]
    backend.opened.set()
    for response in responses:
        text = await response.text()
        assert '"Hel"' in text
        assert text.count("it broke") == 1


class Dies(Gate):
    """Its first answer is lost when it has only begun."""

    async def generate(self, request: GenerateRequest) -> EventStream:
        async with contextlib.aclosing(super().generate(request)) as events:
            async for batch in events:
                yield batch
                if request is self.requests[0]:
                    raise BackendFailed("it died")


async def test_who_joined_and_was_given_nothing_asks_anew(connect: Connect, traffic: Traffic) -> None:
    """And those who do share again."""
    backend = Dies(num_free=0)
    client = await connect(backend)
    asking = [
        asyncio.create_task(client.post(CHAT, json={**GREEDY, "stream": stream})) for stream in (False, False, True)
    ]
    await until(lambda: num_readers(traffic) == 3)
    backend.opened.set()
    first, second, streamed = [await each for each in asking]
    assert first.status == 500
    assert (await second.json())["choices"][0]["message"]["content"] == "Hello world"
    assert (await streamed.text()).count('"role"') == 1
    assert len(backend.requests) == 2


async def test_nobody_joins_what_is_being_lost(connect: Connect, traffic: Traffic) -> None:
    backend = Gate()
    client = await connect(backend)
    first = asyncio.create_task(client.post(CHAT, json=GREEDY))
    await until(lambda: num_readers(traffic) == 1)
    backend.state = BackendState.STARTING
    assert (await client.post(CHAT, json=GREEDY)).status == 503  # as the backend says, of whom it was asked
    backend.opened.set()
    assert (await first).status == 200


# superseded


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_the_latest_keystroke_wins_and_the_older_ends_cleanly_at_once(
    connect: Connect, log_lines: LogLines, stream: bool
) -> None:
    """Though its client never hangs up."""
    backend = Gate(LONG)
    client = await connect(backend)
    older = asyncio.create_task(client.post("/v1/completions", json=typing("import nu", stream=stream)))
    await until(lambda: backend.requests)
    newer = asyncio.create_task(client.post("/v1/completions", json=typing("import num", stream=stream)))
    text = await (await older).text()
    bodies = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")] or [json.loads(text)]
    assert [choice["finish_reason"] for body in bodies for choice in body["choices"]][-1] == "length"
    assert text.endswith("data: [DONE]\n\n") == stream
    assert backend.num_closed == 1
    backend.opened.set()
    assert (await (await newer).text()).count("199 ") == 1
    line = next(line for line in log_lines if line["event"] == "request")
    assert line["superseded_by"] == backend.requests[1].id


ENDS: list[tuple[str, str, dict[str, Any], str, Any]] = [
    ("openai", "/v1/completions", {"prompt": "{}", "max_tokens": 64}, "choices.0.finish_reason", "length"),
    ("llamacpp", "/completion", {"prompt": "{}", "n_predict": 64}, "stop_type", "limit"),
    ("llamacpp", "/infill", {"input_prefix": "{}", "input_suffix": "\n"}, "stop_type", "limit"),
    ("llamacpp-python", "/v1/completions", {"prompt": "{}"}, "choices.0.finish_reason", "length"),
    ("ollama", "/api/generate", {"model": "demo", "prompt": "{}", "suffix": "\n", "stream": False},
     "done_reason", "length"),
]  # fmt: skip


@pytest.mark.parametrize("num_free", [0, 4], ids=["before-anything-came", "in-the-middle"])
@pytest.mark.parametrize(("persona", "path", "body", "place", "end"), ENDS, ids=lambda case: str(case)[:20])
async def test_each_dialect_has_its_own_word_for_it(
    connect: Connect, persona: str, path: str, body: dict[str, Any], place: str, end: str, num_free: int
) -> None:
    backend = Gate(LONG, num_free)
    client = await connect(backend, persona)
    older, newer = (json.loads(json.dumps(body).replace("{}", text)) for text in ("import nu", "import num"))
    first = asyncio.create_task(client.post(path, json=older))
    await until(lambda: backend.requests)
    second = asyncio.create_task(client.post(path, json=newer))
    response = await first
    assert response.status == 200
    value = json.loads((await response.text()).splitlines()[-1])
    for key in place.split("."):
        value = value[int(key) if key.isdigit() else key]
    assert value == end
    backend.opened.set()
    assert (await second).status == 200


@dataclass
class Clock:
    """Time passes when it's told to, and who sleeps does so until woken."""

    now: float = 0.0
    slept: list[float] = field(default_factory=list)
    woken: asyncio.Event = field(default_factory=asyncio.Event)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await self.woken.wait()


@pytest.mark.parametrize(
    ("pause_s", "asked", "held"),
    [
        (0.1, ["n", "nu", "nump"], [0.15, 0.15]),
        (0.2, ["n", "nu", "num", "nump"], []),
    ],
    ids=["fast", "slow"],
)
async def test_keystrokes_that_come_too_fast_to_be_answered_are_held(
    connect: Connect, traffic: Traffic, log_lines: LogLines, pause_s: float, asked: list[str], held: list[float]
) -> None:
    """The first two aren't; of the others, the device is given the one that nothing follows."""
    clock = Clock()
    traffic.generations = Generations(traffic.counter.observe, lambda: clock.now, clock.sleep)
    backend = Gate(LONG)
    client = await connect(backend)
    tasks = []
    for number, typed in enumerate(("n", "nu", "num", "nump"), start=1):
        tasks.append(asyncio.create_task(client.post("/v1/completions", json=typing(f"import {typed}"))))
        await until(partial(_have_come, backend, clock, number))
        clock.now += pause_s
    clock.woken.set()
    backend.opened.set()
    texts = [await (await task).text() for task in tasks]
    assert ["199 " in text for text in texts] == [False, False, False, True]
    assert [request.prompts for request in backend.requests] == [(TextPrompt((f"import {typed}",)),) for typed in asked]
    assert clock.slept == held
    lines = [line for line in log_lines if line["event"] == "request"]
    assert [line["hold_ms"] for line in lines if "hold_ms" in line] == [1000 * seconds for seconds in held]


def _have_come(backend: ScriptedBackend, clock: Clock, number: int) -> bool:
    return len(backend.requests) + len(clock.slept) == number


async def test_another_clients_keystrokes_supersede_nothing(connect: Connect) -> None:
    backend = Gate(LONG)
    client = await connect(backend)
    tasks = []
    for number, (prompt, agent) in enumerate((("import nu", "one"), ("import num", "two"), ("def f(x):", "one"))):
        headers = {"User-Agent": agent}
        tasks.append(asyncio.create_task(client.post("/v1/completions", json=typing(prompt), headers=headers)))
        await until(partial(has_asked, backend, number + 1))
    backend.opened.set()
    assert ["199 " in await (await task).text() for task in tasks] == [True] * 3


async def test_chats_supersede_nothing(connect: Connect) -> None:
    backend = Gate()
    client = await connect(backend)
    ask = {**GREEDY, "temperature": 1}
    first = asyncio.create_task(client.post(CHAT, json=ask))
    await until(lambda: backend.requests)
    longer = {**ask, "messages": [{"role": "user", "content": "hi there"}]}
    second = asyncio.create_task(client.post(CHAT, json=longer))
    await until(lambda: len(backend.requests) == 2)
    backend.opened.set()
    for task in (first, second):
        assert (await (await task).json())["choices"][0]["finish_reason"] == "stop"


def test_what_is_cut_has_every_choice_ended_once() -> None:
    seen = Unfinished(3)
    seen.note([Started(0, 7), Started(1, 7), Prefilled(0, 7, 4, 7, 0.1), Text(0, "a", (1,)), Reasoning(0, "b", (2, 3)),
               Finished(1, "end")])  # fmt: skip
    started, *ends = seen.end()
    assert (started, [(end.index, end.reason) for end in ends if isinstance(end, Finished)]) == (
        Started(2, 0), [(0, "length"), (2, "length")]
    )  # fmt: skip
    assert isinstance(ends[0], Finished)
    assert (ends[0].usage.prompt_tokens, ends[0].usage.cached_tokens, ends[0].usage.completion_tokens) == (7, 4, 3)


# left


async def connect_with(connect: Connect, backend: ScriptedBackend, when_left: str) -> Any:
    model = config().models["demo"].model_copy(update={"when_left": when_left})
    return await connect(backend, models={"demo": model})


async def leave(client: Any, backend: ScriptedBackend, traffic: Traffic, stream: bool) -> None:
    asking = asyncio.create_task(client.post(CHAT, json={**GREEDY, "stream": stream}))
    await until(lambda: backend.requests)
    if stream:
        (await asking).close()
    else:
        asking.cancel()
    await until(lambda: num_readers(traffic) == 0)


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("when_left", ["cancel", "drain", "cache"])
async def test_a_backend_is_left_as_its_config_says(
    connect: Connect, traffic: Traffic, when_left: str, stream: bool
) -> None:
    backend = Gate(LONG, num_free=1)
    client = await connect_with(connect, backend, when_left)
    await leave(client, backend, traffic, stream)
    assert backend.num_closed == (when_left == "cancel")
    backend.opened.set()
    await until(lambda: backend.is_done)
    assert backend.num_closed == (when_left != "drain")


async def test_what_is_being_drained_keeps_its_model(connect: Connect, traffic: Traffic) -> None:
    backend = Gate()
    model = config().models["demo"].model_copy(update={"when_left": "drain", "unload_after_s": 0.0})
    client = await connect(backend, models={"demo": model})
    await leave(client, backend, traffic, stream=True)
    await settle()
    assert backend.state is BackendState.READY
    backend.opened.set()
    await until(lambda: backend.state is BackendState.STOPPED)
    assert backend.is_done
    assert backend.num_closed == 0


async def test_who_asks_again_reads_what_is_being_drained(connect: Connect, traffic: Traffic) -> None:
    backend = Gate()
    client = await connect_with(connect, backend, "drain")
    await leave(client, backend, traffic, stream=True)
    again = asyncio.create_task(client.post(CHAT, json=GREEDY))
    await until(lambda: num_readers(traffic) == 1)
    backend.opened.set()
    assert (await (await again).json())["choices"][0]["message"]["content"] == "Hello world"
    assert len(backend.requests) == 1


async def test_a_prompt_that_is_in_the_cache_is_gone_on_with_for_nobody(connect: Connect, traffic: Traffic) -> None:
    backend = Gate(LONG, num_free=4)
    client = await connect_with(connect, backend, "cache")
    await leave(client, backend, traffic, stream=True)
    await until(lambda: backend.num_closed == 1)


async def test_a_hanging_backend_is_let_go_of_when_its_reader_leaves(connect: Connect, traffic: Traffic) -> None:
    backend = ScriptedBackend(fault=Hangs(after=1))
    client = await connect(backend)
    await leave(client, backend, traffic, stream=False)
    await until(lambda: backend.num_closed == 1)
