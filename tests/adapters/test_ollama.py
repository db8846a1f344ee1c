"""The dialect as a whole: root, routes that aren't there, and the shape of errors."""

from __future__ import annotations

import pytest

from adapters.ollama.dialect import DIALECT
from backends.errors import BackendFailed, DragomanError, Forbidden, TooLarge, Unauthorized, UnknownModel
from tests.adapters.ollama_tools import JSON, JSON_UTF8, ask
from tests.fakes import call


async def test_the_root_is_a_sign_of_life() -> None:
    said = await ask("root")
    assert (said.status, said.content_type, said.body) == (200, "text/plain; charset=utf-8", b"Ollama is running")


def test_an_unknown_route() -> None:
    reply = DIALECT.unknown_route(call("GET", "/nope"), "GET /api/tags")
    assert (reply.status, reply.content_type, reply.body) == (404, "text/plain", b"404 page not found")


def test_a_wrong_method() -> None:
    reply = DIALECT.wrong_method(call("GET", "/api/chat"), ["POST"])
    assert (reply.status, reply.content_type, reply.body) == (405, "text/plain", b"405 method not allowed")
    assert reply.headers == {"Allow": "POST"}


@pytest.mark.parametrize(
    ("verb", "status", "said"),
    [
        ("status", 200, {"cloud": {"disabled": True, "source": "config"}}),
        ("me", 503, {"error": "account unavailable"}),
        ("signout", 401, {"error": "you are not currently signed in"}),
    ],
)
async def test_there_is_no_cloud(verb: str, status: int, said: object) -> None:
    answered = await ask(verb)
    assert (answered.status, answered.json) == (status, said)


@pytest.mark.parametrize(
    ("error", "status"),
    [(UnknownModel("x"), 404), (Forbidden("no"), 403), (Unauthorized("no"), 401), (TooLarge("big"), 413)],
)
def test_an_error_is_one_line_of_text(error: DragomanError, status: int) -> None:
    reply = DIALECT.error(error, call("POST", "/api/show", {"model": "x"}))
    assert (reply.status, reply.content_type) == (status, JSON_UTF8)
    assert reply.body == b'{"error":"%s"}' % error.message.encode()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (UnknownModel("x"), "not_found_error"),
        (Forbidden("no"), "api_error"),
        (BackendFailed("broken"), "api_error"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "//V1/models", "/chat/completions"])
def test_in_the_openai_layer_it_is_openais_object_with_a_line_break(error: DragomanError, kind: str, path: str) -> None:
    reply = DIALECT.error(error, call("POST", path))
    message = error.message.encode()
    assert reply.body == b'{"error":{"message":"%s","type":"%s","param":null,"code":null}}\n' % (message, kind.encode())
    assert (reply.status, reply.content_type) == (error.status, JSON)
