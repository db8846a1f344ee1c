"""JSON is read however it comes: no Content-Type, a wrong one, chunked, empty credentials, an odd Accept."""

from __future__ import annotations

import pytest

from tests.e2e.gateway_process import Gateway

REQUESTS = {
    "/v1/chat/completions": {"model": "demo", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4},
    "/completion": {"prompt": "import ", "n_predict": 4, "temperature": 0},
    "/api/generate": {"model": "demo", "prompt": "Hi", "stream": False, "options": {"num_predict": 4, "seed": 1}},
}
HEADERS: dict[str, dict[str, str]] = {
    "nothing": {},
    "text": {"Content-Type": "text/plain;charset=UTF-8"},
    "a form": {"Content-Type": "application/x-www-form-urlencoded"},
    "odd accept": {"Content-Type": "application/json", "Accept": "text/json"},
    "empty authorization": {"Authorization": ""},
    "undefined authorization": {"Authorization": "Bearer undefined"},
}


@pytest.mark.parametrize("path", REQUESTS)
@pytest.mark.parametrize("headers", HEADERS.values(), ids=HEADERS)
@pytest.mark.parametrize("chunked", [False, True], ids=["whole", "chunked"])
def test_headers_do_not_matter(dragoman: Gateway, path: str, headers: dict[str, str], chunked: bool) -> None:
    for persona in dragoman.urls:
        answer = dragoman.ask(persona, "POST", path, REQUESTS[path], headers, chunked=chunked)
        assert answer.status == 200, answer.text


@pytest.mark.parametrize("path", ["//v1//chat/completions", "/v1/chat/completions/", "/v1/chat/completions?beta=true"])
def test_paths_are_forgiving_and_never_redirected(dragoman: Gateway, path: str) -> None:
    answer = dragoman.ask("openai", "POST", path, REQUESTS["/v1/chat/completions"])
    assert answer.status == 200, answer.text


def test_nulls_are_absent_and_whole_floats_are_numbers(dragoman: Gateway) -> None:
    odd = {"max_tokens": 4.0, "stop": None, "tools": None, "response_format": None, "seed": 1.0}
    answer = dragoman.ask("openai", "POST", "/v1/chat/completions", REQUESTS["/v1/chat/completions"] | odd)
    assert answer.status == 200, answer.text
    assert answer.json["usage"]["completion_tokens"] <= 4


def test_a_long_body_is_not_too_large(dragoman: Gateway) -> None:
    """aiohttp's own limit of 1 MiB would refuse this before anyone could say that the prompt is too long."""
    answer = dragoman.ask("openai", "POST", "/v1/completions", {"prompt": "word " * 300_000, "max_tokens": 1})
    assert answer.status == 400
    assert answer.json["error"]["code"] == "context_length_exceeded"


def test_what_nobody_honours_is_named(dragoman: Gateway) -> None:
    asked = REQUESTS["/v1/chat/completions"] | {"frobnicate": 1}
    answer = dragoman.ask("openai", "POST", "/v1/chat/completions", asked)
    assert "frobnicate" in answer.headers["X-Dragoman-Ignored"]
