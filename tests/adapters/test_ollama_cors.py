"""Who may call the listener: host names and pages."""

from __future__ import annotations

import socket

import pytest

from adapters.base import Call, Reply
from adapters.ollama.dialect import DIALECT
from tests.fakes import call


def asked(host: str = "localhost:11434", origin: str | None = None, *, is_local: bool = True) -> Call:
    headers = {"Host": host} | ({"Origin": origin} if origin else {})
    made = call("GET", "/api/tags", persona="ollama", headers=headers)
    made.is_local = is_local
    return made


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "localhost:11434", "LOCALHOST:1", "127.0.0.1:11434", "127.9.9.9", "[::1]:11434", "::1",
        "192.168.1.5:11434", "10.0.0.1", "models.local", "host.docker.internal:11434", "a.localhost", "",
        socket.gethostname(),
    ],
)  # fmt: skip
def test_names_of_this_machine_are_let_in(host: str) -> None:
    assert DIALECT.admit(asked(host)) is None


@pytest.mark.parametrize(
    "host", ["evil.example.com", "evil.example.com:11434", "8.8.8.8", "local", "localhost.evil.com"]
)
def test_other_names_are_turned_away_without_a_word(host: str) -> None:
    turned_away = DIALECT.admit(asked(host))
    assert turned_away == Reply(status=403, content_type="")
    assert DIALECT.admit(asked(host, is_local=False)) is None, "a listener that others may reach has any name"


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost", "https://localhost:3000", "http://127.0.0.1:8080", "http://0.0.0.0", "app://obsidian.md",
        "file://", "tauri://localhost", "vscode-webview://1k2j", "vscode-file://vscode-app", "chrome-extension://abc",
        "moz-extension://abc",
    ],
)  # fmt: skip
def test_pages_of_this_machine_and_of_applications_may_call(origin: str) -> None:
    assert DIALECT.admit(asked(origin=origin)) is None
    assert DIALECT.cors(origin) == {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}


@pytest.mark.parametrize(
    "origin", ["https://evil.example.com", "http://localhost.evil.com", "http://127.0.0.10", "null", "ftp://localhost"]
)
def test_other_pages_may_not(origin: str) -> None:
    assert DIALECT.admit(asked(origin=origin)) == Reply(status=403, content_type="")
    assert DIALECT.cors(origin) == {}


def test_a_page_that_the_listener_itself_served_is_no_foreign_page() -> None:
    assert DIALECT.admit(asked("box.example.com:80", "http://box.example.com:80", is_local=False)) is None


def test_nothing_is_said_to_what_is_no_page() -> None:
    assert DIALECT.cors(None) == {}
    assert DIALECT.preflight(asked()) is None
    assert DIALECT.preflight(asked(host="h:1", origin="http://h:1")) is None


def test_a_preflight_grants_what_the_sdks_send() -> None:
    granted = DIALECT.preflight(asked(origin="http://localhost:3000"))
    assert (granted.status, granted.body) == (204, b"")
    headers = granted.headers["Access-Control-Allow-Headers"].lower().split(",")
    assert {"authorization", "content-type", "x-stainless-retry-count"} <= set(headers)
    assert "DELETE" in granted.headers["Access-Control-Allow-Methods"].split(",")
