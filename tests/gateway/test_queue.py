"""Who waits and who is answered: told in headers, at /gateway/queue and in the metrics."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from backends.base import BackendState, Slot
from backends.errors import BackendFailed
from backends.events import Finished, Prefilled, Started, Text
from backends.request import GenerateRequest, Intent, TextPrompt
from gateway.config import Limits
from gateway.queue import Queue, Standing
from tests.fakes import Fails, Hangs, ScriptedBackend
from tests.gateway.conftest import Connect, LogLines
from tests.gateway.test_handler import until

ASK = {"model": "demo", "messages": [{"role": "user", "content": "hi"}]}
CHAT = "/v1/chat/completions"
NEVER = Limits(headers_s=0.01)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def asked(name: str, intent: Intent = Intent.CHAT) -> GenerateRequest:
    return GenerateRequest(id=name, prompts=(TextPrompt(("x",)),), client=f"client {name}", intent=intent)


def test_the_position_is_that_among_those_who_wait_and_the_estimate_follows_the_answers_of_late() -> None:
    clock = Clock()
    queue = Queue(clock)

    def standing(ticket: Any, places: int = 1) -> Standing:
        return queue.standing(ticket, lambda: places)

    with queue.ticket(asked("a"), "m", "POST /x") as a:
        assert standing(a) == Standing(0, 0.0)
        queue.observe(a, Started(0, 3))
        assert a.began is None, "taking a request is no sign of work on it"
        queue.observe(a, Text(0, "hi", (1,)))
        with queue.ticket(asked("b"), "m", "") as b, queue.ticket(asked("c"), "m", "") as c:
            clock.now = 1.0
            with queue.ticket(asked("d", Intent.COMPLETION), "m", "") as d, queue.ticket(asked("e"), "other", "") as e:
                tickets = (a, d, b, c, e)
                assert [standing(each).position for each in tickets] == [0, 1, 2, 3, 0], "by class, then by age"
                assert [standing(each, 2).position for each in tickets] == [0, 0, 1, 2, 0]
                assert [standing(each, 0).position for each in tickets] == [0, 0, 0, 0, 0]
                assert standing(d).estimate_s is None, "nothing has ended yet"
                assert queue.num_waiting == 4
            clock.now = 4.0
    with queue.ticket(asked("f"), "m", "") as f, queue.ticket(asked("g"), "m", "") as g:
        queue.observe(f, Text(0, "hi"))
        assert standing(g) == Standing(1, 4.0)
    assert queue.tickets == []


def test_while_the_model_loads_that_is_what_is_waited_for() -> None:
    queue = Queue(Clock())
    with queue.ticket(asked("a"), "m", "") as a, queue.ticket(asked("b", Intent.COMPLETION), "m", "") as b:
        assert queue.standing(a, lambda: 0, 41.5) == Standing(2, 41.5)
        assert queue.standing(b, lambda: 0, None) == Standing(1, None)
        queue.observe(a, Text(0, "hi"))
        assert queue.standing(a, lambda: 0, None) == Standing(0, 0.0), "it has begun"


def test_the_share_of_the_others_is_counted_while_one_is_there() -> None:
    queue = Queue(Clock())
    with queue.ticket(asked("a"), "m", "") as a:
        queue.observe(a, Prefilled(0, total=100, cached=20, processed=60, elapsed_s=0))  # 40 evaluated
        queue.observe(a, Prefilled(0, total=100, cached=20, processed=100, elapsed_s=0))  # and 40 more
        with queue.ticket(asked("b"), "m", "") as b:
            queue.observe(b, Text(0, "x", (1, 2, 3)))
            queue.observe(b, Text(0, "held back"))
            queue.observe(b, Finished(0, "end"))
            assert queue.others_share(b) == 0.0, "what was before it isn't counted"
            queue.observe(a, Text(0, "x", tuple(range(12))))
            assert queue.others_share(b) == pytest.approx(12 / 16)
        assert queue.others_share(a) == pytest.approx(4 / 96)


async def hold(client: TestClient[Any, Any], **body: object) -> Any:
    return await client.post(CHAT, json=ASK | {"stream": True} | body, headers={"User-Agent": "editor/1"})


async def test_the_queue_is_told_in_a_header_and_to_the_operator(connect: Connect, log_lines: LogLines) -> None:
    backend = ScriptedBackend(fault=Hangs(after=1), slots=[Slot(0)])  # Started, and no sign of work
    client = await connect(backend)
    responses = [await hold(client) for _ in range(3)]
    told = [response.headers["X-Dragoman-Queue"] for response in responses]
    assert told == ["position=0;estimate=0.0", "position=1", "position=2"]
    queue = (await (await client.get("/gateway/queue")).json())["requests"]
    assert [(each["state"], each["position"], each["client"]) for each in queue] == [
        ("waiting", position, "127.0.0.1 editor/1") for position in (0, 1, 2)
    ]
    assert [each["id"] for each in queue] == [response.headers["X-Request-Id"] for response in responses]
    metrics = await (await client.get("/gateway/metrics")).text()
    assert 'dragoman_requests_waiting{model="demo"} 3\n' in metrics
    assert "llamacpp:requests_deferred 3\n" in await (await client.get("/metrics")).text()
    for response in responses:
        response.close()
    await until(lambda: sum(line.get("status") == 499 for line in log_lines) == 3)
    assert (await (await client.get("/gateway/queue")).json())["requests"] == []


async def test_the_series_count_answers_by_dialect_and_status(connect: Connect) -> None:
    client = await connect(ScriptedBackend())
    await client.post(CHAT, json=ASK)
    await client.post("/api/chat", json={})
    response = await client.get("/gateway/metrics")
    assert response.headers["Content-Type"] == "text/plain; version=0.0.4"
    lines = (await response.text()).splitlines()
    assert 'dragoman_answers_total{dialect="openai",status="200"} 1' in lines
    assert 'dragoman_answers_total{dialect="ollama",status="400"} 1' in lines
    assert "dragoman_completion_tokens_total 11" in lines
    assert all(re.fullmatch(r'(# TYPE )?dragoman_\w+({(\w+="[^"]*",?)+})? \S+', line) for line in lines)


@pytest.mark.parametrize(
    ("path", "last"),
    [
        (CHAT, b'{"error":{"message":"it never loaded"'),
        ("/v1/messages", b"event: error\n"),
        ("/completion", b'{"error":{"code":500,"message":"it never loaded"'),
    ],
)
async def test_a_stream_is_opened_before_anything_comes_and_then_fails_within(
    connect: Connect, path: str, last: bytes
) -> None:
    loaded = asyncio.Event()

    class Loading(ScriptedBackend):
        async def start(self) -> None:
            await loaded.wait()
            await super().start()

    backend = Loading(state=BackendState.STARTING, fault=Fails(BackendFailed("it never loaded")))
    client = await connect(backend, limits=NEVER)
    async with client.post(path, json=ASK | {"stream": True, "prompt": "a", "max_tokens": 5}) as response:
        assert response.status == 200
        (waiting,) = (await (await client.get("/gateway/queue")).json())["requests"]
        assert waiting["state"] == "loading"
        loaded.set()
        assert last in await response.read()


TIMING = re.compile(r"parse;dur=[\d.]+, load;dur=[\d.]+(, queue;dur=(\S+), prefill;dur=(\S+), decode;dur=(\S+))?, "
                    r"total;dur=[\d.]+")  # fmt: skip


@pytest.mark.parametrize(
    "path", [CHAT, "/v1/messages", "/completion", "/api/chat", "/v1/models", "/api/tags", "/nowhere"]
)
async def test_every_answer_says_where_the_time_went(connect: Connect, path: str) -> None:
    client = await connect(ScriptedBackend())
    method = "GET" if path.endswith(("models", "tags", "nowhere")) else "POST"
    body = None if method == "GET" else ASK | {"stream": False, "prompt": "a", "max_tokens": 5}
    response = await client.request(method, path, json=body)
    timing = TIMING.fullmatch(response.headers["Server-Timing"])
    assert timing
    if method == "POST":
        assert timing.groups()[1:] == ("250.0", "125.0", "2000.0")
        assert response.headers["X-Dragoman-Queue"] == "position=0;estimate=0.0"


async def test_the_log_says_what_the_others_had(connect: Connect, log_lines: LogLines) -> None:
    client = await connect(ScriptedBackend())
    await client.post(CHAT, json=ASK)
    (line,) = [line for line in log_lines if line["event"] == "request"]
    assert line["others_share"] == 0.0
    assert {"parse_ms", "load_ms", "unread_ms"} <= set(line)
