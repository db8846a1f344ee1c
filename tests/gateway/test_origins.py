"""Who may call a listener: host names and pages."""

from __future__ import annotations

import socket

import pytest
from multidict import CIMultiDict

from gateway.config import Access, parse
from gateway.document import ConfigError
from gateway.origins import OriginPolicy
from tests.fakes import ScriptedBackend
from tests.gateway.conftest import Connect

PERSONAS = ["openai", "llamacpp", "llamacpp-python", "ollama", "anthropic"]
LOCAL, OPEN = OriginPolicy(is_local=True), OriginPolicy(is_local=False)


def asked(host: str = "localhost:11434", origin: str | None = None) -> CIMultiDict[str]:
    return CIMultiDict({"Host": host} | ({"Origin": origin} if origin else {}))


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "localhost:11434", "LOCALHOST:1", "127.0.0.1:11434", "127.9.9.9", "[::1]:11434",
        "192.168.1.5:11434", "10.0.0.1", "models.local", "host.docker.internal:11434", "a.localhost", "",
        socket.gethostname(),
    ],
)  # fmt: skip
def test_names_of_this_machine_are_let_in(host: str) -> None:
    assert LOCAL.objection(asked(host)) is None


@pytest.mark.parametrize(
    "host", ["evil.example.com", "evil.example.com:11434", "8.8.8.8", "local", "localhost.evil.com", "[::1"]
)
def test_other_names_are_turned_away(host: str) -> None:
    assert host in (LOCAL.objection(asked(host)) or "")
    assert OPEN.objection(asked(host)) is None, "a listener that others may reach has any name"


def test_a_name_in_the_config_is_ours() -> None:
    policy = OriginPolicy(is_local=True, hosts=["Models.example.org"])
    assert policy.objection(asked("models.example.org:80")) is None
    assert policy.objection(asked("other.example.org")) is not None


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost", "https://localhost:3000", "http://127.0.0.1:8080", "http://0.0.0.0", "http://[::1]:5173",
        "app://obsidian.md", "file://", "tauri://localhost", "vscode-webview://1k2j", "vscode-file://vscode-app",
        "chrome-extension://abc", "moz-extension://abc",
    ],
)  # fmt: skip
def test_pages_of_this_machine_and_of_applications_may_call(origin: str) -> None:
    assert LOCAL.objection(asked(origin=origin)) is None


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example.com", "http://localhost.evil.com", "http://127.0.0.10", "null", "ftp://localhost",
        "http://localhost:80.evil.com", "http://localhost@evil.com", "http://[::1].evil.com",
    ],
)  # fmt: skip
@pytest.mark.parametrize("policy", [LOCAL, OPEN])
def test_other_pages_may_not(policy: OriginPolicy, origin: str) -> None:
    assert origin in (policy.objection(asked(origin=origin)) or "")


def test_a_page_that_the_listener_itself_served_is_no_foreign_page() -> None:
    page = asked("box.example.com:80", "http://box.example.com:80")
    assert OPEN.objection(page) is None
    assert LOCAL.objection(page) is not None, "its name was made to point here"


def test_pages_in_the_config_may_call() -> None:
    policy = OriginPolicy(is_local=True, origins=["https://*.example.org", "http://10.0.0.2:3000"])
    for origin, may in (
        ("https://chat.example.org", True), ("http://10.0.0.2:3000", True),
        ("https://example.org", False), ("https://chat.example.org.evil.com", False), ("http://10.0.0.2:30001", False),
    ):  # fmt: skip
        assert (policy.objection(asked(origin=origin)) is None) is may
    assert OriginPolicy(is_local=True, origins=["*"]).objection(asked(origin="null")) is None


@pytest.mark.parametrize("persona", PERSONAS)
@pytest.mark.parametrize("method", ["OPTIONS", "POST"])
async def test_a_foreign_page_gets_nothing_from_any_persona(connect: Connect, persona: str, method: str) -> None:
    backend = ScriptedBackend()
    client = await connect(backend, persona)
    for headers in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}):
        response = await client.request(method, "/v1/chat/completions", json={"messages": []}, headers=headers)
        assert response.status == 403
        assert response.headers.get("Access-Control-Allow-Origin", "") == ""
        if persona == "ollama":
            assert await response.read() == b""
        else:
            assert "evil.example" in await response.text()
    assert not backend.requests


@pytest.mark.parametrize("persona", PERSONAS)
async def test_a_page_that_may_call_is_told_so_by_each_dialect(connect: Connect, persona: str) -> None:
    client = await connect(ScriptedBackend(), persona, access=Access(origins=("https://chat.example",)))
    for origin in ("http://localhost:3000", "https://chat.example"):
        response = await client.get("/v1/models", headers={"Origin": origin})
        assert response.status == 200
        assert response.headers["Access-Control-Allow-Origin"] in {"*", origin}


LEAST = "models: {demo: {backend: engine}}\n"


@pytest.mark.parametrize("host", ["::", "192.168.1.5", "box.example.org"])
def test_others_are_let_in_only_with_keys_or_in_words(host: str) -> None:
    text = LEAST + f"listeners: [{{port: 0, persona: openai, host: '{host}'}}]\n"
    with pytest.raises(ConfigError, match=r"listeners\.0\.host: .* reached by other machines"):
        parse(text, "x", {})
    assert parse(text + "keys: {a: {key: k}}", "x", {}).keys
    assert parse(text + "access: {without_keys: anyone on the network}", "x", {})


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.8.8"])
def test_this_machine_alone_needs_none(host: str) -> None:
    assert parse(LEAST + f"listeners: [{{port: 0, persona: openai, host: '{host}'}}]", "x", {})
