from __future__ import annotations

import hmac
from pathlib import Path
from typing import Any

import pytest
from multidict import CIMultiDict

from gateway.config import Config, parse
from gateway.document import ConfigError
from gateway.keys import KeyRing, presented_keys
from tests.fakes import ScriptedBackend
from tests.gateway.conftest import Connect, LogLines

LEAST = "listeners: [{port: 0, persona: openai}]\nmodels: {demo: {backend: engine}}\n"
ALICES = "sk-alice-1234"
CHAT = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 3}
FORMS = [
    {"Authorization": f"Bearer {ALICES}"},
    {"Authorization": f"bearer  {ALICES} "},
    {"authorization": f"BEARER {ALICES}"},
    {"Authorization": f"token {ALICES}"},
    {"Authorization": ALICES},
    {"x-api-key": ALICES},
    {"api-key": ALICES},
    {"x-goog-api-key": ALICES},
    {"Authorization": "Bearer undefined", "api-key": ALICES},  # Continue sends both
]


def config(text: str, **environment: str) -> Config:
    return parse(LEAST + text, "config.yaml", environment)


@pytest.fixture
def alice() -> dict[str, Any]:
    return {"keys": config(f"keys: {{alice: {{key: {ALICES}}}}}").keys}


@pytest.mark.parametrize("headers", FORMS, ids=str)
async def test_every_form_opens_and_none_is_looked_for_without_keys(
    connect: Connect, alice: dict[str, Any], headers: dict[str, str]
) -> None:
    for settings in (alice, {}):
        client = await connect(ScriptedBackend(), **settings)
        assert (await client.post("/v1/chat/completions", json=CHAT, headers=headers)).status == 200


async def test_the_query_opens_too(connect: Connect, alice: dict[str, Any]) -> None:
    client = await connect(ScriptedBackend(), **alice)
    assert (await client.post(f"/v1/chat/completions?key={ALICES}", json=CHAT)).status == 200
    assert (await client.post("/v1/chat/completions?key=other", json=CHAT)).status == 401


OPENAI = {"type": "invalid_request_error", "param": None}


@pytest.mark.parametrize(
    ("path", "key", "error"),
    [
        ("/v1/chat/completions", "no", {"error": OPENAI | {"message": "Incorrect API key provided.",
                                                           "code": "invalid_api_key"}}),
        ("/v1/messages", None, {"type": "error", "error": {"type": "authentication_error",
                                                           "message": "x-api-key header is required"}}),
        ("/v1/messages", "no", {"type": "error", "error": {"type": "authentication_error",
                                                           "message": "invalid x-api-key"}}),
        ("/api/chat", None, {"error": "unauthorized"}),
        ("/completion", "no", {"error": {"message": "Invalid API Key", "type": "authentication_error", "code": 401}}),
        ("/extras/tokenize", None, {"detail": "Invalid API key"}),
    ],
)  # fmt: skip
async def test_each_dialect_refuses_in_its_own_words(
    connect: Connect, alice: dict[str, Any], path: str, key: str | None, error: dict[str, Any]
) -> None:
    backend = ScriptedBackend()
    client = await connect(backend, **alice)
    response = await client.post(path, json=CHAT, headers={"x-api-key": key} if key else {})
    told = await response.json()
    told.pop("request_id", None)
    assert (response.status, told) == (401, error)
    assert not backend.requests


OPEN = ["/", "/health", "/v1/health", "/ping", "/version", "/api/version"]
CLOSED = ["/v1/models", "/props", "/slots", "/metrics", "/api/tags", "/api/ps"]


@pytest.mark.parametrize("persona", ["openai", "llamacpp", "llamacpp-python", "ollama", "anthropic"])
async def test_only_signs_of_life_are_open(connect: Connect, alice: dict[str, Any], persona: str) -> None:
    client = await connect(ScriptedBackend(), persona, **alice)
    statuses = {path: (await client.get(path)).status for path in (*OPEN, *CLOSED)}
    assert statuses == dict.fromkeys(OPEN, 200) | dict.fromkeys(CLOSED, 401)
    browsers = {"Origin": "http://localhost:3000", "Access-Control-Request-Method": "POST"}
    assert (await client.options("/v1/chat/completions", headers=browsers)).status in {200, 204}


async def test_the_log_names_the_client_and_never_its_key(
    connect: Connect, alice: dict[str, Any], log_lines: LogLines
) -> None:
    client = await connect(ScriptedBackend(), **alice)
    for path in ("/v1/chat/completions", f"/v1/chat/completions?key={ALICES}", f"/nowhere?key={ALICES}", "/v1/models"):
        await client.post(path, json=CHAT, headers={"Authorization": f"Bearer {ALICES}", "User-Agent": "editor/1"})
    first = next(line for line in log_lines if line["event"] == "request")
    assert first["client"] == "alice 127.0.0.1 editor/1"
    assert ALICES not in repr(log_lines)


def test_a_key_comes_from_the_environment_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "bob").write_text("sk-bob\nsecond line\n")
    both = config(f"keys: {{alice: {{key: '${{ALICE}}'}}, bob: {{file: {tmp_path}/bob}}}}", ALICE="@12: 345 #")
    assert {name: key.secret() for name, key in both.keys.items()} == {"alice": "@12: 345 #", "bob": "sk-bob"}
    assert "345" not in repr(both)


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ("{a: {}}", "config.yaml:3: keys.a: give either the key or a file"),
        ("{a: {key: x, file: y}}", "config.yaml:3: keys.a: give either the key or a file"),
        ("{a: {file: /nowhere}}", "config.yaml:3: keys.a.file: No such file or directory"),
        ("{a: {file: /dev/null}}", "config.yaml:3: keys.a.file: the file's first line is empty"),
        ("{a: {key: same}, b: {key: same}}", "config.yaml:3: keys.b: the same key as keys.a"),
    ],
)
def test_a_wrong_key_entry_is_named(keys: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config(f"keys: {keys}")
    assert str(caught.value) == complaint


def test_every_key_is_compared_and_only_by_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []
    compare_digest = hmac.compare_digest

    def compare(ours: bytes, theirs: bytes) -> bool:
        compared.append(ours)
        return compare_digest(ours, theirs)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    ring = KeyRing({"a": "one", "b": "two", "c": "three"})
    assert ring.name_of(["one"]) == "a"
    assert [len(digest) for digest in compared] == [32, 32, 32]
    assert "one" not in repr(vars(ring))


def test_bytes_that_are_no_text_are_no_key() -> None:
    headers = CIMultiDict({"Authorization": "Bearer \udcff\udcfe"})
    assert KeyRing({"a": "one"}).name_of(presented_keys(headers, {})) is None
