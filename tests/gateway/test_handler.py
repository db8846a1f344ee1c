from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable

import pytest
from aiohttp import ClientPayloadError, ClientResponse

from backends.base import BackendState
from backends.errors import BackendFailed, Busy, PromptTooLong
from gateway.config import Limits, Log
from tests.fakes import HELLO, Fails, Hangs, ScriptedBackend
from tests.gateway.conftest import Connect, LogLines

CHAT = "/v1/chat/completions"
ASK = {"model": "demo", "messages": [{"role": "user", "content": "secret question"}]}


async def until(condition: Callable[[], object], attempts: int = 500) -> None:
    for _ in range(attempts):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came true")


async def test_a_request_leaves_one_line_that_says_everything_but_the_prompt(
    connect: Connect, log_lines: LogLines
) -> None:
    client = await connect(ScriptedBackend(cached_tokens=3))
    response = await client.post(CHAT, json={**ASK, "frobnicate": 1}, headers={"User-Agent": "editor/1.0"})
    assert response.status == 200
    (line,) = [line for line in log_lines if line["event"] == "request"]
    assert line["id"] == response.headers["X-Request-Id"]
    expected = {"listener": "openai", "dialect": "openai", "route": f"POST {CHAT}", "model": "demo", "status": 200,
                "streamed": False, "tokens_cached": 3, "tokens_out": 11, "queue_ms": 250.0, "prefill_ms": 125.0,
                "decode_ms": 2000.0, "ignored": ["frobnicate"]}  # fmt: skip
    assert {key: line[key] for key in expected} == expected
    assert line["client"].endswith(" editor/1.0")
    assert "secret" not in repr(log_lines)


async def test_prompts_are_logged_only_when_the_config_says_so(connect: Connect, log_lines: LogLines) -> None:
    client = await connect(ScriptedBackend(), log=Log(prompts=True))
    await client.post(CHAT, json=ASK)
    (line,) = [line for line in log_lines if line["event"] == "request"]
    assert "secret question" in line["prompts"][0]


async def test_ignored_fields_come_back_in_a_header_that_cannot_be_forged(connect: Connect) -> None:
    client = await connect(ScriptedBackend())
    response = await client.post(CHAT, json={**ASK, "frobnicate": 1, "x\r\nSet-Cookie: a=b": 2, "ünicode": 3})
    assert response.headers["X-Dragoman-Ignored"] == "frobnicate, xSet-Cookie: a=b, ?nicode"
    assert "Set-Cookie" not in response.headers


async def test_a_stream_is_one_frame_a_chunk_and_its_headers_do_not_wait_for_tokens(connect: Connect) -> None:
    backend = ScriptedBackend(fault=Hangs(after=1))
    client = await connect(backend)
    async with client.post(CHAT, json={**ASK, "stream": True}) as response:
        assert response.status == 200
        assert response.headers["Content-Type"].startswith("text/event-stream")
    await until(lambda: backend.num_closed == 1)


async def test_chunks_hold_whole_events(connect: Connect) -> None:
    client = await connect(ScriptedBackend())
    response = await client.post(CHAT, json={**ASK, "stream": True})
    chunk, frames = b"", []
    async for data, ends in response.content.iter_chunks():
        chunk += data
        if ends and chunk:  # aiohttp may report the body's end as an empty one
            frames.append(chunk)
            chunk = b""
    assert all(frame.startswith(b"data: ") and frame.count(b"\n\n") == 1 for frame in frames)
    assert frames[-1] == b"data: [DONE]\n\n"


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_client_that_leaves_ends_the_generation(connect: Connect, log_lines: LogLines, streamed: bool) -> None:
    backend = ScriptedBackend(fault=Hangs(after=3))
    client = await connect(backend)
    asking = asyncio.ensure_future(client.post(CHAT, json={**ASK, "stream": streamed}))
    await until(lambda: backend.requests)
    if streamed:
        (await asking).close()
    asking.cancel()
    await until(lambda: backend.num_closed == 1)
    await until(lambda: any(line.get("status") == 499 for line in log_lines))


async def test_an_error_before_the_first_event_has_a_status_of_its_own(connect: Connect) -> None:
    client = await connect(ScriptedBackend(fault=Fails(PromptTooLong(9000, 4096))))
    response = await client.post(CHAT, json={**ASK, "stream": True})
    assert response.status == 400
    assert "9000" in (await response.json())["error"]["message"]


async def test_an_error_in_a_stream_is_told_and_nothing_follows(connect: Connect, log_lines: LogLines) -> None:
    client = await connect(ScriptedBackend(fault=Fails(BackendFailed("the worker died"), after=4)))
    text = await (await client.post(CHAT, json={**ASK, "stream": True})).text()
    assert "the worker died" in text.strip().splitlines()[-1]
    assert "[DONE]" not in text
    assert any(line.get("error") == "the worker died" for line in log_lines)


async def test_busy_says_when_to_come_again(connect: Connect) -> None:
    client = await connect(ScriptedBackend(fault=Fails(Busy("the queue is full", retry_after_s=7.4))))
    response = await client.post(CHAT, json=ASK)
    assert response.headers["Retry-After"] == "7"
    assert response.status in {429, 503}


async def test_a_bug_is_a_500_in_the_dialect_and_a_traceback_in_the_log(connect: Connect, log_lines: LogLines) -> None:
    class Broken(ScriptedBackend):
        async def tokenize(self, text: str, *, add_special: bool, parse_special: bool = True) -> list[int]:
            raise ZeroDivisionError

    client = await connect(Broken())
    response = await client.post("/tokenize", json={"prompt": "x"})
    assert response.status == 500
    assert "error" in await response.json()
    assert any(line["event"] == "bug" and line["log_level"] == "error" for line in log_lines)


async def test_too_large_a_body_is_refused(connect: Connect) -> None:
    client = await connect(ScriptedBackend(), limits=Limits(max_body_mib=1))
    response = await client.post(CHAT, data=io.BytesIO(b" " * (2**20 + 1)))
    assert response.status == 413
    assert "error" in await response.json()


async def test_an_unknown_route_is_logged_once_with_the_nearest(connect: Connect, log_lines: LogLines) -> None:
    client = await connect(ScriptedBackend())
    for _ in range(2):
        response = await client.post("/v1/chat/completion", json=ASK)
        assert response.status == 404
        assert "/v1/chat/completions" in await response.text()
    (line,) = [line for line in log_lines if line["event"] == "unknown route"]
    assert line["nearest"] == "POST /v1/chat/completions"


async def test_nothing_is_redirected(connect: Connect) -> None:
    client = await connect(ScriptedBackend(HELLO))
    for path in ("/v1/chat/completions/", "//v1/chat/completions", "/v1/chat/completions?beta=true"):
        url = str(client.make_url("/")).rstrip("/") + path  # as a client joins them, doubled slashes and all
        async with client.session.post(url, json=ASK, allow_redirects=False) as response:
            assert response.status == 200


async def test_head_answers_like_get_without_a_body(connect: Connect) -> None:
    client = await connect(ScriptedBackend(), "ollama")
    response = await client.head("/api/tags")
    assert (response.status, await response.read()) == (200, b"")


async def test_a_request_waits_for_its_model_to_load(connect: Connect) -> None:
    class Slow(ScriptedBackend):
        async def start(self) -> None:
            await released.wait()
            await super().start()

    released = asyncio.Event()
    client = await connect(Slow(state=BackendState.STARTING))
    asking = asyncio.ensure_future(client.post(CHAT, json=ASK))
    await asyncio.sleep(0.05)
    assert not asking.done()
    released.set()
    assert (await asking).status == 200


async def test_a_model_that_loads_for_too_long_is_said_to_load(connect: Connect) -> None:
    class Stuck(ScriptedBackend):
        async def start(self) -> None:
            await asyncio.Event().wait()

    client = await connect(Stuck(state=BackendState.STARTING), limits=Limits(load_timeout_s=0.05))
    response = await client.post(CHAT, json=ASK)
    assert response.status == 503
    assert "Retry-After" in response.headers


async def test_a_model_that_failed_to_load_says_why(connect: Connect, log_lines: LogLines) -> None:
    class Failing(ScriptedBackend):
        async def start(self) -> None:
            self.state, self.phase = BackendState.FAILED, "no weights in /models/x"
            raise BackendFailed(self.phase)

    client = await connect(Failing(state=BackendState.STARTING))
    response = await client.post(CHAT, json=ASK)
    assert response.status == 500
    assert "no weights in /models/x" in await response.text()
    assert any(line["event"] == "model failed to load" for line in log_lines)


async def test_an_unknown_model_goes_to_the_default_or_is_refused(connect: Connect) -> None:
    asked = {**ASK, "model": "code-davinci-002"}
    lenient = await connect(ScriptedBackend())
    assert (await lenient.post(CHAT, json=asked)).status == 200
    strict = await connect(ScriptedBackend(), refuse_unknown=True)
    response = await strict.post(CHAT, json=asked)
    assert response.status == 404
    assert "code-davinci-002" in await response.text()


async def test_a_cut_connection_is_not_a_finished_answer(connect: Connect) -> None:
    """What a client sees when the gateway itself is taken away: an error of the transport, not an end."""
    client = await connect(ScriptedBackend(fault=Hangs(after=3)))
    response = await client.post(CHAT, json={**ASK, "stream": True})
    await client.server.close()
    with pytest.raises(ClientPayloadError):
        await response.read()


async def test_a_silent_stream_is_kept_alive_as_its_dialect_does(connect: Connect) -> None:
    backend = ScriptedBackend(fault=Hangs(after=3))
    client = await connect(backend, "llamacpp")
    async with client.post("/completion", json={"prompt": "x", "stream": True, "sse_ping_interval": 1}) as response:
        frames = [frame async for frame in _frames_until(response, b":\n\n")]
    assert frames[:-1]
    assert all(frame.startswith(b"data: ") for frame in frames[:-1])
    await until(lambda: backend.num_closed == 1)


async def _frames_until(response: ClientResponse, last: bytes) -> AsyncIterator[bytes]:
    frame = b""
    async for data, ends in response.content.iter_chunks():
        frame += data
        if ends:
            yield frame
            if frame == last:
                return
            frame = b""


async def test_an_operators_own_path_is_served(connect: Connect) -> None:
    client = await connect(ScriptedBackend(), routes={"/my/old/path": "openai.completions"})
    response = await client.post("/my/old/path", json={"prompt": "x"})
    assert (await response.json())["object"] == "text_completion"


async def test_an_answer_can_be_looked_at_and_ended_from_another_request(connect: Connect, log_lines: LogLines) -> None:
    client = await connect(ScriptedBackend(HELLO, fault=Hangs(after=4)), "kobold")
    answering = asyncio.create_task(client.post("/api/v1/generate", json={"prompt": "Hi", "genkey": "k"}))
    check, seen = "/api/extra/generate/check", ""
    while seen != "Hello":
        seen = (await (await client.post(check, json={"genkey": "k"})).json())["results"][0]["text"]
    await client.post("/api/extra/abort", json={"genkey": "k"})
    response = await answering
    assert (await response.json())["results"][0]["text"] == "Hello"
    (line,) = [line for line in log_lines if line.get("route") == "POST /api/v1/generate"]
    assert (line["status"], line["tokens_out"]) == (200, 5)
