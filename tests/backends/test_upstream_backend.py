"""Answers of attached and of managed servers: real processes, really killed (tests/fake_worker.py)."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from backends.base import BackendState
from backends.errors import BackendFailed, Busy, DragomanError, InvalidRequest, NotReady, Unauthorized
from backends.events import Completion, Event, Finished, Text, fold
from backends.process import Process
from backends.request import (
    ChatPrompt,
    Dry,
    EmbedRequest,
    GenerateRequest,
    Intent,
    Message,
    Prompt,
    Sampling,
    TextPrompt,
)
from backends.server import Keeping, ServerOptions, checked_port, server_backend
from backends.upstream import Timeouts, Upstream
from backends.upstream_backend import Behaviour, UpstreamBackend
from backends.upstream_errors import WorkerLost
from tests.backends.test_process import is_alive, until

FAKE = (sys.executable, str(Path(__file__).parents[1] / "fake_worker.py"))
FIVE = "w0 w1 w2 w3 w4 "
KEEPING = Keeping(start_timeout_s=20, grace_s=0.2, health_s=0.1)


def ask(prompt: str | Prompt, **fields: Any) -> GenerateRequest:
    prompts = (TextPrompt((prompt,)) if isinstance(prompt, str) else prompt,)
    return GenerateRequest(id="request", prompts=prompts, **fields)


async def text_of(backend: UpstreamBackend, prompt: str) -> str:
    completion: Completion = await fold(backend.generate(ask(prompt)), 1)
    (choice,) = completion.ordered
    assert choice.end.reason == "end"
    return choice.text


async def failure_of(backend: UpstreamBackend, prompt: str) -> tuple[str, DragomanError]:
    """What was sent before the error, which must come and must not look like an end."""
    events: list[Event] = []

    async def read() -> None:
        async for batch in backend.generate(ask(prompt)):
            events.extend(batch)

    with pytest.raises(DragomanError) as caught:
        await read()
    assert not any(isinstance(event, Finished) for event in events)
    return "".join(event.text for event in events if isinstance(event, Text)), caught.value


@pytest.fixture
async def start() -> AsyncIterator[Callable[..., Any]]:
    """Starts backends, and stops them at the end."""
    started: list[UpstreamBackend] = []

    async def make(options: ServerOptions) -> UpstreamBackend:
        backend = server_backend(options)
        started.append(backend)
        await backend.start()
        return backend

    yield make
    for backend in started:
        await backend.stop()


def managed(*flags: str, **options: Any) -> ServerOptions:
    return replace(ServerOptions(command=(*FAKE, "--port", "{port}", *flags), keeping=KEEPING), **options)


@pytest.fixture
async def served() -> AsyncIterator[Callable[..., Any]]:
    """Runs fake servers elsewhere: gives the URL and the process of each."""
    processes: list[Process] = []

    async def run(*flags: str) -> tuple[str, Process]:
        process = Process([*FAKE, *flags], grace_s=0.1)
        processes.append(process)
        await process.start()
        await until(lambda: "Application startup complete" in process.last_words())
        (port,) = re.findall(r"startup complete \('127.0.0.1', (\d+)\)", process.last_words())
        return f"http://127.0.0.1:{port}", process

    yield run
    for process in processes:
        await process.stop()


async def seen(url: str) -> Any:
    """What a fake worker says of its requests."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/seen") as answer:
        return await answer.json(content_type=None)


async def until_seen(url: str, condition: Callable[[Any], object]) -> None:
    for _ in range(1000):
        if condition(await seen(url)):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it was never seen")


# answers


async def test_text_and_chat_come_through(start: Any) -> None:
    backend = await start(managed())
    assert backend.state is BackendState.READY
    assert backend.info.window == 1000
    assert "embedding" in backend.info.capabilities
    completion = await fold(backend.generate(ask(ChatPrompt((Message("user", "five"),)))), 1)
    assert completion.ordered[0].text == FIVE
    assert completion.usage.completion_tokens == 5
    assert await text_of(backend, "five") == FIVE


async def test_several_prompts_and_choices_are_numbered_as_openai_does(start: Any) -> None:
    backend = await start(managed())
    request = GenerateRequest(id="x", prompts=(TextPrompt(("five",)), TextPrompt(("five",))), n=2)
    completion = await fold(backend.generate(request), 2)
    assert [(choice.index, choice.text) for choice in completion.ordered] == [(i, FIVE) for i in range(4)]


@pytest.mark.parametrize("prompt", ["half", "broken", "garbage", "silent end"])
async def test_a_stream_that_broke_off_never_looks_finished(start: Any, prompt: str) -> None:
    backend = await start(managed("--served-model-name", "m"))
    said, error = await failure_of(backend, prompt)
    assert said == "w0 w1 "
    assert isinstance(error, BackendFailed)


async def test_a_dead_worker_s_last_words_reach_the_client_and_the_next_worker_answers(start: Any) -> None:
    backend = await start(managed())
    said, error = await failure_of(backend, "die")
    assert said == "w0 w1 "
    assert "the device is on fire" in error.message
    assert await text_of(backend, "five") == FIVE


async def test_where_nothing_was_sent_the_next_worker_answers(start: Any, tmp_path: Path) -> None:
    """One request kills the worker while others wait for their first word."""
    backend = await start(managed("--mark", str(tmp_path / "mark")))
    waiting = [asyncio.create_task(text_of(backend, "five after a death")) for _ in range(3)]
    await asyncio.sleep(0.1)
    said, error = await failure_of(backend, "die")
    assert (said, "on fire" in error.message) == ("w0 w1 ", True)
    assert await asyncio.gather(*waiting) == [FIVE] * 3


async def test_a_server_refuses_in_its_own_words(start: Any) -> None:
    backend = await start(managed())
    _, error = await failure_of(backend, "refuse 400")
    assert isinstance(error, InvalidRequest)
    assert (error.param, error.status) == ("temperature", 400)
    _, error = await failure_of(backend, "refuse 503")
    assert isinstance(error, Busy)
    assert error.retry_after_s == 7
    _, error = await failure_of(backend, "refuse 429")
    assert isinstance(error, Busy)
    assert error.retry_after_s == 7


async def test_a_client_that_leaves_ends_the_answer_at_the_server(start: Any, served: Any) -> None:
    url, _ = await served()
    backend = await start(ServerOptions(urls=(url,)))
    waiting = asyncio.create_task(text_of(backend, "wait"))
    await until_seen(url, lambda it: it["requests"])
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await until_seen(url, lambda it: it["num_left"] == 1)


async def test_one_prompt_that_fails_ends_the_others(start: Any, served: Any) -> None:
    url, _ = await served()
    backend = await start(ServerOptions(urls=(url,), behaviour=Behaviour(num_retries=0)))
    request = GenerateRequest(id="x", prompts=(TextPrompt(("wait",)), TextPrompt(("half",))))
    with pytest.raises(BackendFailed, match=r"http://127.0.0.1:\d+: "):
        await fold(backend.generate(request), 1)
    await until_seen(url, lambda it: it["num_left"] == 1)


async def test_more_answers_than_the_server_takes_wait_here_and_a_place_is_kept_for_completions(
    start: Any, served: Any
) -> None:
    url, _ = await served()
    backend = await start(ServerOptions(urls=(url,), behaviour=Behaviour(max_batch_size=2, completion_slots=1)))
    busy, waiting = (asyncio.create_task(text_of(backend, prompt)) for prompt in ("wait", "five"))
    await until_seen(url, lambda seen: seen["requests"])
    typed = ask("five", intent=Intent.COMPLETION)
    assert (await fold(backend.generate(typed), 1)).ordered[0].text == FIVE
    assert (waiting.done(), len((await seen(url))["requests"])) == (False, 2)
    busy.cancel()  # its client leaves
    assert await waiting == FIVE


async def test_embeddings_wait_for_a_place_as_answers_do(start: Any, served: Any) -> None:
    url, _ = await served()
    backend = await start(ServerOptions(urls=(url,), behaviour=Behaviour(max_batch_size=1)))
    busy = asyncio.create_task(text_of(backend, "wait"))
    await until_seen(url, lambda seen: seen["requests"])
    embedding = asyncio.create_task(backend.embed(EmbedRequest(id="r", inputs=("abc", "d"))))
    assert await backend.tokenize("hi", add_special=False) == [104, 105]  # questions don't wait
    assert "/v1/embeddings" not in [request["path"] for request in (await seen(url))["requests"]]
    busy.cancel()  # its client leaves
    assert (await embedding).num_tokens == (3, 1)


async def test_a_server_that_schedules_by_priority_is_told_what_answers_are_for(start: Any, served: Any) -> None:
    url, _ = await served()
    for priorities in (False, True):
        backend = await start(ServerOptions(urls=(url,), behaviour=Behaviour(priorities=priorities)))
        for intent in Intent:
            await fold(backend.generate(ask("five", intent=intent, priority=7)), 1)
    said = [request["priority"] for request in (await seen(url))["requests"]]
    assert said == [7, 7, 7, 7, 7, 1007, 2007, 3007]


async def test_what_only_shades_the_answer_is_left_out_and_named(start: Any) -> None:
    backend = await start(managed())
    request = ask("five", sampling=Sampling(typical_p=0.5, dry=Dry(1.0)))
    await fold(backend.generate(request), 1)
    assert request.ignored == ["typical_p", "dry"]


async def test_tokens_are_asked_of_the_server(start: Any) -> None:
    backend = await start(managed())
    assert await backend.tokenize("hi", add_special=False) == [104, 105]
    assert await backend.detokenize([104, 105]) == "hi"
    assert await backend.token_bytes(104) == b"h"
    embeddings = await backend.embed(EmbedRequest(id="r", inputs=("abc", "d")))
    assert embeddings.vectors == ((1.0, 0.5), (1.0, 0.5))
    assert embeddings.num_tokens == (3, 1)


async def test_answers_under_way_are_lost_when_their_connections_are_closed(served: Any) -> None:
    """As when a worker has died, and that is seen before the cut connections are."""
    url, _ = await served()
    upstream = Upstream(url)

    async def read() -> None:
        async for _chunks in upstream.answer("/v1/completions", {"prompt": "hang"}):
            begun.set()

    begun = asyncio.Event()
    reading = asyncio.create_task(read())
    await begun.wait()
    await upstream.close()
    with pytest.raises(WorkerLost, match="closed"):
        await asyncio.wait_for(reading, 30)


# a worker's life


async def test_a_slow_start_is_waited_for_and_told(start: Any) -> None:
    backend = server_backend(managed("--slow-start", "0.5"))
    starting = asyncio.create_task(backend.start())
    await until(lambda: backend.phase == "starting")
    with pytest.raises(NotReady):
        await fold(server_backend(managed()).generate(ask("five")), 1)
    await starting
    assert await text_of(backend, "five") == FIVE
    await backend.stop()
    assert backend.state is BackendState.STOPPED


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (("--exit-at-start", "3"), "ended with exit code 3: RuntimeError: no such device"),
        (("--exit-at-start", "0"), "ended with exit code 0: RuntimeError: no such device"),
        (("--never-ready",), "it wasn't ready after 1 s"),
        (("--garbage",), "doesn't answer in OpenAI's format"),
    ],
)
async def test_a_start_that_fails_says_why_and_is_not_repeated(start: Any, flags: Any, complaint: str) -> None:
    options = managed(*flags, keeping=replace(KEEPING, start_timeout_s=1.0))
    with pytest.raises(BackendFailed, match=re.escape(complaint)):
        await start(options)


async def test_a_held_port_is_noticed_before_the_start(start: Any, served: Any) -> None:
    url, _ = await served()
    with pytest.raises(BackendFailed, match=r"port \d+ can't be used: Address already in use"):
        await start(managed(port=int(url.rpartition(":")[2])))


async def test_what_hangs_is_killed_and_restarted(start: Any) -> None:
    backend = await start(managed("--deaf", keeping=replace(KEEPING, hang_s=0.5)))
    said, error = await failure_of(backend, "hang")
    assert said == "w0 w1 "
    assert "hung" in error.message
    assert await text_of(backend, "five") == FIVE


async def test_after_repeated_deaths_the_breaker_opens_and_says_why(start: Any) -> None:
    backend = await start(managed(keeping=replace(KEEPING, max_deaths=2)))
    await failure_of(backend, "die")
    await text_of(backend, "five")
    await failure_of(backend, "die")
    await until(lambda: backend.state is BackendState.FAILED)
    assert "died too often" in backend.phase
    assert "on fire" in backend.phase
    _, error = await failure_of(backend, "five")
    assert "on fire" in error.message


async def test_stopping_ends_answers_with_an_error_and_leaves_nobody_behind(start: Any) -> None:
    port = checked_port(None)
    backend = await start(managed("--deaf", "--forks", port=port))
    (child,) = [int(line.split()[1]) for line in backend.log if line.startswith("child")]
    waiting = asyncio.create_task(failure_of(backend, "wait"))
    await until_seen(f"http://127.0.0.1:{port}", lambda it: it["requests"])
    await backend.stop()
    _, error = await waiting
    assert isinstance(error, BackendFailed)
    assert not is_alive(child)


async def test_orphans_of_a_killed_worker_are_swept(start: Any) -> None:
    backend = await start(managed("--forks"))
    (child,) = [int(line.split()[1]) for line in backend.log if line.startswith("child")]
    await failure_of(backend, "die")
    await until(lambda: not is_alive(child))


async def test_only_so_many_lines_of_the_log_are_kept(start: Any) -> None:
    backend = await start(managed(keeping=replace(KEEPING, log_lines=1)))
    assert len(backend.log) == 1


async def test_the_key_is_random_and_asked_for(start: Any) -> None:
    backend = await start(managed("--key", "{key}"))
    assert await text_of(backend, "five") == FIVE


async def test_a_setup_script_is_sourced_before_the_command(start: Any, tmp_path: Path) -> None:
    setup = tmp_path / "setup.sh"
    setup.write_text("export VLLM_API_KEY=sesame\n")
    backend = await start(managed(key="sesame", keeping=replace(KEEPING, setup=setup)))
    assert await text_of(backend, "five") == FIVE
    backend = await start(managed(key="sesame", keeping=replace(KEEPING, env={"VLLM_API_KEY": "{key}"})))
    assert await text_of(backend, "five") == FIVE


# attached servers


async def test_a_wrong_key_is_told(start: Any, served: Any) -> None:
    url, _ = await served("--key", "sesame")
    backend = await start(ServerOptions(urls=(url,), key="wrong"))
    _, error = await failure_of(backend, "five")
    assert isinstance(error, Unauthorized)


async def test_a_missing_model_is_named_with_those_that_are_there(start: Any, served: Any) -> None:
    url, _ = await served("--served-model-name", "there")
    backend = await start(ServerOptions(urls=(url,), model="missing"))
    _, error = await failure_of(backend, "five")
    assert isinstance(error, NotReady)
    assert "has no model 'missing'; it has there" in error.message


async def test_of_two_servers_the_less_busy_one_answers(start: Any, served: Any) -> None:
    urls = [(await served())[0] for _ in range(2)]
    backend = await start(ServerOptions(urls=tuple(urls)))
    waiting = [asyncio.create_task(text_of(backend, "wait")) for _ in range(4)]
    for url in urls:
        await until_seen(url, lambda it: len(it["requests"]) == 2)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_each_server_is_asked_as_it_is_and_what_is_told_holds_for_all(start: Any, served: Any) -> None:
    """Their names for the model, their dialects and their windows may differ."""
    first, _ = await served("--served-model-name", "a", "--window", "900", "--tools")
    second, _ = await served("--served-model-name", "b", "--window", "800", "--owner", "sglang")
    backend = await start(ServerOptions(urls=(first, second)))
    assert backend.info.window == 800
    assert "tools" not in backend.info.capabilities
    waiting = [asyncio.create_task(text_of(backend, "wait")) for _ in range(2)]
    for url in (first, second):
        await until_seen(url, lambda it: it["requests"])
    asked = [(await seen(url))["requests"][-1] for url in (first, second)]
    assert [(each["model"], each["max_tokens"]) for each in asked] == [("a", 900), ("b", 800)]
    assert ["return_token_ids" in each for each in asked] == [True, False]
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_an_adapter_is_asked_for_where_it_is(start: Any, served: Any) -> None:
    (first, _), (second, _) = await served(), await served("--adapter", "tuned")
    backend = await start(ServerOptions(urls=(first, second)))
    for _ in range(3):
        assert await text_of(backend.adapters["tuned"], "five") == FIVE
    assert [len((await seen(url))["requests"]) for url in (first, second)] == [0, 3]
    assert {request["model"] for request in (await seen(second))["requests"]} == {"tuned"}


async def test_a_dead_server_is_left_out_until_it_answers_again(start: Any, served: Any) -> None:
    (first, process), (second, _) = await served(), await served()
    backend = await start(ServerOptions(urls=(first, second), probe_s=0.05))
    process.signal(signal.SIGKILL)
    await process.wait()
    for _ in range(4):
        assert await text_of(backend, "five") == FIVE
    await served("--port", first.rpartition(":")[2])
    for _ in range(1000):
        if len((await seen(first))["requests"]):
            return
        await asyncio.gather(text_of(backend, "five"), text_of(backend, "five"))
    raise AssertionError("it was never asked again")


async def test_a_server_that_comes_later_is_found(start: Any, served: Any) -> None:
    url, process = await served()
    await process.stop()
    backend = await start(ServerOptions(urls=(url,), probe_s=0.05))
    _, error = await failure_of(backend, "five")
    assert isinstance(error, NotReady)
    assert "can't be reached" in error.message
    await served("--port", url.rpartition(":")[2])
    assert await text_of(backend, "five") == FIVE


@pytest.mark.parametrize(("prompt", "timeouts", "complaint"), [
    ("hang", Timeouts(idle_s=0.3), "stopped answering for 0.3 s"),
    ("wait", Timeouts(first_byte_s=0.3, idle_s=0.3), None),
])  # fmt: skip
async def test_silence_has_a_limit(
    start: Any, served: Any, prompt: str, timeouts: Timeouts, complaint: str | None
) -> None:
    """A server that sends comments is alive, whatever it waits for."""
    url, _ = await served()
    options = ServerOptions(urls=(url,), timeouts=timeouts, behaviour=Behaviour(num_retries=0))
    backend = await start(options)
    answering = asyncio.create_task(failure_of(backend, prompt))
    if complaint is None:
        await asyncio.wait([answering], timeout=0.6)
        assert not answering.done()
        answering.cancel()
        await asyncio.gather(answering, return_exceptions=True)
    else:
        assert complaint in (await answering)[1].message


async def test_a_stopped_process_doesn_t_answer_in_time(start: Any, served: Any) -> None:
    url, process = await served()
    options = ServerOptions(urls=(url,), timeouts=Timeouts(first_byte_s=0.3), behaviour=Behaviour(num_retries=0))
    backend = await start(options)
    assert process.group is not None
    os.killpg(process.group, signal.SIGSTOP)
    _, error = await failure_of(backend, "five")
    assert "didn't answer within 0.3 s" in error.message
    os.killpg(process.group, signal.SIGCONT)
