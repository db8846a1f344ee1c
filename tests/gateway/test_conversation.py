"""Requests over a WebSocket: text-generation-webui's streams of 2023."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import ClientWebSocketResponse, WSCloseCode, WSMsgType, WSServerHandshakeError
from pydantic import SecretStr

from backends.errors import BackendFailed
from backends.request import TextPrompt
from gateway.app import running
from gateway.config import Key, Limits, load
from tests.fakes import HELLO, Fails, Hangs, Script, ScriptedBackend, said
from tests.gateway.conftest import Connect, LogLines
from tests.gateway.test_handler import until

STREAM, CHAT = "/api/v1/stream", "/api/v1/chat-stream"


async def answer_on(opened: ClientWebSocketResponse) -> list[dict[str, Any]]:
    """As the clients of 2023 read one."""
    messages: list[dict[str, Any]] = []
    while not messages or messages[-1]["event"] != "stream_end":
        messages.append(json.loads(await opened.receive_str()))
    return messages


async def test_a_text_comes_in_numbered_messages(connect: Connect, log_lines: LogLines) -> None:
    client = await connect(ScriptedBackend(HELLO))
    async with client.ws_connect(STREAM) as opened:
        await opened.send_json({"prompt": "secret", "num_beams": 4})
        texts = [{"event": "text_stream", "text": text} for text in ("", "Hel", "lo", " world", "")]
        expected = [message | {"message_num": n} for n, message in enumerate([*texts, {"event": "stream_end"}])]
        assert await answer_on(opened) == expected
    await until(lambda: len([line for line in log_lines if line["event"] == "request"]) == 2)
    told, connection = [line for line in log_lines if line["event"] == "request"]
    expected_line = {"dialect": "textgen", "route": f"GET {STREAM}", "model": "demo", "streamed": True, "status": 101,
                     "tokens_out": 11, "ignored": ["num_beams"]}  # fmt: skip
    assert {key: told[key] for key in expected_line} == expected_line
    assert (connection["route"], connection["status"], connection["model"]) == (f"GET {STREAM}", 101, "")
    assert told["id"] != connection["id"]


async def test_a_chat_comes_as_its_whole_history_each_time(connect: Connect) -> None:
    client = await connect(ScriptedBackend(HELLO), "textgen")
    past = {"internal": [["a", "b"]], "visible": [["A", "B"]]}
    async with client.ws_connect(CHAT) as opened:
        await opened.send_json({"user_input": "hi", "history": past})
        *told, end = await answer_on(opened)
    assert end == {"event": "stream_end", "message_num": 4}
    assert [message["history"]["internal"][1] for message in told] == [
        ["hi", text] for text in ("Hel", "Hello", "Hello world", "Hello world")
    ]
    assert told[-1]["history"]["visible"] == [["A", "B"], ["hi", "Hello world"]]


async def test_messages_are_answered_one_after_another_on_the_same_socket(connect: Connect) -> None:
    backend = ScriptedBackend(HELLO)
    client = await connect(backend)
    async with client.ws_connect(STREAM) as opened:
        await opened.send_json({"prompt": "one"})
        await opened.send_bytes(b'{"prompt": "two"}')  # before its turn, and not as text
        assert await answer_on(opened) == await answer_on(opened)
        await opened.send_json({"prompt": "three"})
        await answer_on(opened)
    assert [request.prompts for request in backend.requests] == [
        (TextPrompt((prompt,)),) for prompt in ("one", "two", "three")
    ]


@pytest.mark.parametrize("size", [60, 1_000, 70_000])
async def test_messages_of_every_length_arrive(connect: Connect, size: int) -> None:
    client = await connect(ScriptedBackend(Script(said("é" * size))))
    async with client.ws_connect(STREAM) as opened:
        await opened.send_json({"prompt": "hi"})
        assert "".join(message.get("text", "") for message in await answer_on(opened)) == "é" * size


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ('{"prompt": 3}', "'prompt'"),
        ("{}", "'prompt'"),
        ("{", "column 2"),
        ("[" * 9_000, "deep"),
        ('{"prompt": "hi", "top_k": "many"}', "'top_k'"),
    ],
)
async def test_a_bad_request_closes_the_socket_and_the_reason_names_the_field(
    connect: Connect, asked: str, reason: str
) -> None:
    backend = ScriptedBackend()
    client = await connect(backend)
    async with client.ws_connect(STREAM) as opened:
        await opened.send_str(asked)
        closing = await opened.receive()
    assert (closing.type, closing.data) == (WSMsgType.CLOSE, WSCloseCode.INTERNAL_ERROR)
    assert reason in str(closing.extra)
    assert backend.requests == []


async def test_an_answer_that_fails_closes_the_socket_with_a_reason_that_fits(connect: Connect) -> None:
    client = await connect(ScriptedBackend(HELLO, fault=Fails(BackendFailed("the worker died: " + "é" * 200), after=2)))
    async with client.ws_connect(STREAM) as opened:
        await opened.send_json({"prompt": "hi"})
        messages = [message async for message in opened]
    assert [json.loads(message.data)["event"] for message in messages] == ["text_stream"] * len(messages)
    assert messages
    assert opened.close_code == WSCloseCode.INTERNAL_ERROR


async def test_too_large_a_message_closes_the_socket(connect: Connect) -> None:
    client = await connect(ScriptedBackend(), limits=Limits(max_body_mib=1))
    async with client.ws_connect(STREAM) as opened:
        await opened.send_str(" " * (2**20 + 1))
        assert (await opened.receive()).data == WSCloseCode.MESSAGE_TOO_BIG


async def test_who_closes_the_socket_ends_the_generation(connect: Connect, log_lines: LogLines) -> None:
    backend = ScriptedBackend(fault=Hangs(after=2))
    client = await connect(backend)
    async with client.ws_connect(STREAM) as opened:
        await opened.send_json({"prompt": "hi"})
        await opened.receive_str()
        await opened.send_json({"prompt": "never asked"})
    await until(lambda: backend.num_closed == 1)
    await until(lambda: len([line for line in log_lines if line["event"] == "request"]) == 2)
    assert [line["status"] for line in log_lines if line["event"] == "request"] == [499, 101]
    assert len(backend.requests) == 1


async def test_who_hangs_up_without_a_word_ends_the_generation(connect: Connect) -> None:
    backend = ScriptedBackend(fault=Hangs(after=2))
    client = await connect(backend)
    opened = await client.ws_connect(STREAM)
    await opened.send_json({"prompt": "hi"})
    await opened.receive_str()
    opened.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
    await until(lambda: backend.num_closed == 1)


async def test_stop_stream_ends_what_is_said_on_a_socket(connect: Connect) -> None:
    client = await connect(ScriptedBackend(fault=Hangs(after=2)), "textgen")
    async with client.ws_connect(STREAM) as opened:
        await opened.send_json({"prompt": "hi"})
        await opened.receive_str()
        await client.post("/api/v1/stop-stream")
        assert (await answer_on(opened))[-1]["event"] == "stream_end"


async def test_a_socket_needs_a_key_where_a_request_does(connect: Connect) -> None:
    client = await connect(ScriptedBackend(HELLO), "textgen", keys={"me": Key(key=SecretStr("sesame"))})
    with pytest.raises(WSServerHandshakeError) as refused:
        await client.ws_connect(STREAM)
    assert refused.value.status == 401
    async with client.ws_connect(STREAM, headers={"Authorization": "Bearer sesame"}) as opened:
        await opened.send_json({"prompt": "hi"})
        assert (await answer_on(opened))[-1]["event"] == "stream_end"


async def test_a_foreign_page_opens_no_socket(connect: Connect) -> None:
    """Browsers let any page do it, and leave the refusal to the server."""
    client = await connect(ScriptedBackend())
    with pytest.raises(WSServerHandshakeError) as refused:
        await client.ws_connect(STREAM, headers={"Origin": "https://elsewhere.example"})
    assert refused.value.status == 403


async def test_the_next_message_is_answered_as_the_config_says_by_then(tmp_path: Path) -> None:
    least = "listeners: [{port: 0, persona: textgen}]\nmodels: {demo: {backend: engine}}\nreload: {watch: false}\n"
    path = tmp_path / "config.yaml"
    path.write_text(least)
    ask = {"prompt": "def", "max_new_tokens": 3, "ban_eos_token": True}
    async with running(load(path), path) as gateway, aiohttp.ClientSession() as session:
        assert gateway.reloader is not None
        async with session.ws_connect(gateway.addresses[0].url + STREAM) as opened:

            async def num_texts() -> int:
                await opened.send_json(ask)
                return len([message for message in await answer_on(opened) if message.get("text")])

            assert await num_texts() == 3
            for text, expected in (("limits: {client: {max_tokens: 1}}\n", 1), ("", 3)):
                path.write_text(least + text)
                await gateway.reloader.reload()
                assert await num_texts() == expected
            path.write_text(least + "keys: {me: {key: sesame}}\n")
            await gateway.reloader.reload()
            await opened.send_json(ask)
            assert (await opened.receive()).type is WSMsgType.CLOSE
            assert opened.close_code == WSCloseCode.INTERNAL_ERROR


@pytest.mark.parametrize("path", [STREAM, CHAT])
async def test_without_an_upgrade_there_is_nothing(connect: Connect, path: str) -> None:
    client = await connect(ScriptedBackend(), "textgen")
    response = await client.get(path)
    assert (response.status, await response.json()) == (404, {"detail": "Not Found"})
