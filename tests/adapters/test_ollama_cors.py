"""What a browser is told."""

from __future__ import annotations

from adapters.base import Call
from adapters.ollama.dialect import DIALECT
from tests.fakes import call

PAGE = "http://localhost:3000"


def asked(origin: str | None) -> Call:
    made = call("OPTIONS", "/api/tags", persona="ollama")
    made.origin = origin
    return made


def test_a_page_gets_its_own_origin_back() -> None:
    assert DIALECT.cors(PAGE) == {"Access-Control-Allow-Origin": PAGE, "Vary": "Origin"}


def test_nothing_is_said_to_what_is_no_page() -> None:
    assert DIALECT.cors(None) == {}
    assert DIALECT.preflight(asked(None)) is None


def test_a_preflight_grants_what_the_sdks_send() -> None:
    granted = DIALECT.preflight(asked(PAGE))
    assert (granted.status, granted.body) == (204, b"")
    headers = granted.headers["Access-Control-Allow-Headers"].lower().split(",")
    assert {"authorization", "content-type", "x-stainless-retry-count"} <= set(headers)
    assert "DELETE" in granted.headers["Access-Control-Allow-Methods"].split(",")
