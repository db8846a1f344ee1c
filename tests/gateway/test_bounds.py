"""How large a request may be, in each of its dimensions."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import FieldTooLarge
from gateway.bounds import check_depth
from gateway.config import Access, Limits
from tests.fakes import ScriptedBackend
from tests.gateway.conftest import Connect

USER = {"role": "user", "content": "hi"}
CLAUDE = {"model": "claude", "max_tokens": 5}
SMALL = Limits(
    max_prompts=2, max_prompt_chars=100, max_n=2, max_stops=2, max_stop_chars=5, max_schema_chars=60, max_json_depth=12
)
SCHEMA = {"type": "object", "properties": {f"field_{i}": {"type": "string"} for i in range(5)}}


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x" * 101}]}, "messages"),
        ("/v1/completions", {"prompt": "x" * 101}, "prompt"),
        ("/v1/completions", {"prompt": ["a", "b", "c"]}, "prompt"),
        ("/v1/completions", {"prompt": [5] * 101}, "prompt"),
        ("/v1/responses", {"input": "x" * 101}, "input"),
        ("/v1/messages", {"messages": [{"role": "user", "content": "x" * 101}], **CLAUDE}, "messages"),
        ("/infill", {"input_prefix": "x" * 101, "input_suffix": ""}, "input_prefix"),
        ("/completion", {"prompt": "x" * 101}, "prompt"),
        ("/api/generate", {"model": "demo", "prompt": "x" * 101}, "prompt"),
        ("/v1/completions", {"prompt": "a", "n": 3}, "n"),
        ("/v1/completions", {"prompt": "a", "best_of": 3}, "best_of"),
        ("/v1/completions", {"prompt": "a", "stop": ["1", "2", "3"]}, "stop"),
        ("/v1/completions", {"prompt": "a", "stop": "123456"}, "stop"),
        ("/v1/messages", {"messages": [USER], **CLAUDE, "stop_sequences": ["123456"]}, "stop_sequences"),
        ("/api/generate", {"model": "demo", "prompt": "a", "options": {"stop": ["123456"]}}, "options.stop"),
        ("/completion", {"prompt": "a", "json_schema": SCHEMA}, "json_schema"),
        ("/completion", {"prompt": "a", "grammar": "root ::= " + '"a" ' * 20}, "grammar"),
        ("/api/chat", {"model": "demo", "messages": [USER], "format": SCHEMA}, "format"),
        ("/v1/chat/completions", {"messages": [USER], "response_format": {
            "type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}}, "response_format"),
        ("/v1/chat/completions", {"messages": [USER], "tools": [
            {"type": "function", "function": {"name": "f", "parameters": SCHEMA}}]}, "tools"),
    ],
)  # fmt: skip
async def test_what_is_too_large_is_refused_by_name(
    connect: Connect, path: str, body: dict[str, Any], field: str
) -> None:
    backend = ScriptedBackend()
    client = await connect(backend, limits=SMALL)
    response = await client.post(path, json=body)
    text = await response.text()
    assert response.status == 400, text
    assert field in text
    assert "more than the" in text
    assert not backend.requests
    roomy = await connect(ScriptedBackend())
    assert (await roomy.post(path, json=body)).status == 200


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    "path", ["/v1/chat/completions", "/completion", "/api/chat", "/api/show", "/v1/messages", "/tokenize"]
)
@pytest.mark.parametrize("depth", [101, 1500, 200_000])
async def test_json_that_is_too_deep_is_refused_and_not_a_bug(connect: Connect, path: str, depth: int) -> None:
    client = await connect(ScriptedBackend())
    deep = '{"model": "demo", "messages": ' + "[" * (depth - 1) + "]" * (depth - 1) + "}"
    response = await client.post(path, data=deep)
    assert response.status == 400
    assert "nested 100 deep" in await response.text()


JSON = st.recursive(
    st.none() | st.text("[{]}x\\\"") | st.integers(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("[{]}"), inner),
)  # fmt: skip


def depth_of(value: Any) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(depth_of, value), default=0) if isinstance(value, list) else 0


@given(JSON, st.integers(1, 6))
def test_depth_is_that_of_the_value_and_not_of_its_strings(value: Any, limit: int) -> None:
    try:
        check_depth(json.dumps(value).encode(), limit)
    except FieldTooLarge:
        assert depth_of(value) > limit
    else:
        assert depth_of(value) <= limit


async def test_a_small_body_that_grows_when_unpacked_is_refused(connect: Connect) -> None:
    client = await connect(ScriptedBackend(), limits=Limits(max_body_mib=1))
    bomb = gzip.compress(b" " * 50 * 2**20)
    assert len(bomb) < 2**17
    response = await client.post("/v1/chat/completions", data=bomb, headers={"Content-Encoding": "gzip"})
    assert response.status == 413


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/completion", "/api/chat", "/v1/messages"])
async def test_a_body_that_trickles_is_given_up(connect: Connect, path: str) -> None:
    backend = ScriptedBackend()
    client = await connect(backend, limits=Limits(body_s=0.05))
    reader, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{{".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    writer.close()
    await writer.wait_closed()
    assert not backend.requests


async def test_no_url_is_fetched_unless_the_operator_says_so(connect: Connect) -> None:
    def asked(url: str) -> dict[str, Any]:
        return {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]}

    backend = ScriptedBackend()
    client = await connect(backend)
    response = await client.post("/v1/chat/completions", json=asked("http://169.254.169.254/latest/meta-data"))
    assert response.status == 400
    assert "no URL is fetched" in await response.text()
    assert not backend.requests
    assert (await client.post("/v1/chat/completions", json=asked("data:image/png;base64,AAAA"))).status == 200
    client = await connect(backend, access=Access(image_urls="fetch"))
    assert (await client.post("/v1/chat/completions", json=asked("http://10.0.0.9/cat.png"))).status == 200
