from __future__ import annotations

import orjson
import pytest

from backends.errors import (
    BackendFailed,
    Busy,
    DragomanError,
    InvalidRequest,
    NotReady,
    PromptTooLong,
    TooLarge,
    Unauthorized,
    UnknownModel,
    Unsupported,
)
from backends.upstream_errors import refusal


def refused(status: int, body: object, retry_after: str | None = None) -> DragomanError:
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    return refusal(status, content, retry_after, "mine")


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, {"error": {"message": "no", "param": "top_p", "code": 400}}, InvalidRequest),
        (401, {"error": "Unauthorized"}, Unauthorized),
        (404, {"error": {"message": "The model `mine` does not exist.", "param": "model"}}, UnknownModel),
        (404, {"error": {"message": 'model "mine" not found, try pulling it first'}}, UnknownModel),
        (404, {"detail": "Not Found"}, Unsupported),
        (413, b"too big", TooLarge),
        (422, {"detail": [{"loc": ["body", "n"], "msg": "too small", "type": "x"}]}, InvalidRequest),
        (429, {"error": {"message": "slow down"}}, Busy),
        (500, {"error": {"message": "boom"}}, BackendFailed),
        (502, b"<html>bad gateway</html>", BackendFailed),
        (503, {"error": {"message": "The engine is currently busy"}}, Busy),
        (503, {"error": {"message": "Loading model", "type": "unavailable_error"}}, NotReady),
    ],
)
def test_an_error_keeps_its_meaning(status: int, body: object, kind: type[DragomanError]) -> None:
    assert type(refused(status, body)) is kind or kind is BackendFailed
    assert isinstance(refused(status, body), kind)


def test_the_field_at_fault_is_kept() -> None:
    assert refused(400, {"error": {"message": "no", "param": "body.top_p"}}).param == "top_p"
    error = refused(422, {"detail": [{"loc": ["body", "messages", 0, "role"], "msg": "missing"}]})
    assert (error.param, error.message) == ("messages.0.role", "'messages.0.role': missing")


@pytest.mark.parametrize(("header", "seconds"), [("7", 7), (None, 1), ("Wed, 21 Oct 2026 07:28:00 GMT", 1), ("-3", 0)])
def test_when_to_come_again_is_kept(header: str | None, seconds: float) -> None:
    assert refused(429, {}, header).retry_after_s == seconds
    assert refused(503, {}, header).retry_after_s == seconds


@pytest.mark.parametrize(
    "message",
    [
        "This model's maximum context length is 4096 tokens. However, your prompt contains 4999 input tokens, which "
        "exceeds this limit even without any output tokens. Please reduce the length of the input prompt.",
        "Input length (4999) exceeds model's maximum context length (4096).",
    ],
)
def test_a_prompt_that_is_too_long_carries_both_counts(message: str) -> None:
    error = refused(400, {"error": {"message": message, "param": "input_tokens"}})
    assert isinstance(error, PromptTooLong)
    assert (error.num_prompt_tokens, error.window) == (4999, 4096)
