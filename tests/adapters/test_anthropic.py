"""Anthropic's dialect around the messages: errors, models, counting, what a browser may do."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from adapters.anthropic.dialect import DIALECT
from adapters.base import Served
from backends.errors import (
    BackendFailed,
    Busy,
    DragomanError,
    Forbidden,
    InvalidRequest,
    NotReady,
    PromptTooLong,
    TooLarge,
    Unauthorized,
    UnknownModel,
)
from tests.adapters.anthropic_tools import BODY, TOOLS, refusal
from tests.fakes import CREATED, TOKENIZER, FakeModels, ScriptedBackend, answer, call

ERRORS: list[tuple[DragomanError, int, str, str]] = [
    (InvalidRequest("No."), 400, "invalid_request_error", "No."),
    (PromptTooLong(250_000, 200_000), 400, "invalid_request_error",
     "prompt is too long: 250000 tokens > 200000 maximum"),
    (Unauthorized("no key"), 401, "authentication_error", "no key"),
    (Forbidden("not here"), 403, "permission_error", "not here"),
    (UnknownModel("claude-9"), 404, "not_found_error", "model: claude-9"),
    (TooLarge("over 1 MiB"), 413, "request_too_large", "over 1 MiB"),
    (BackendFailed("it broke"), 500, "api_error", "it broke"),
    (Busy("the queue is full"), 529, "overloaded_error", "the queue is full"),
    (NotReady("reading weights"), 529, "overloaded_error", "reading weights"),
]  # fmt: skip


@pytest.mark.parametrize(("error", "status", "kind", "message"), ERRORS)
def test_errors_as_anthropic_words_them(error: DragomanError, status: int, kind: str, message: str) -> None:
    reply = DIALECT.error(error, call("POST", "/v1/messages"))
    request_id = f"req_{'0' * 32}"
    assert reply.status == status
    assert reply.headers["request-id"] == request_id
    assert orjson.loads(reply.body) == {
        "type": "error",
        "error": {"type": kind, "message": message},
        "request_id": request_id,
    }


REFUSED: list[tuple[Any, str]] = [
    ("{", "The request body is not valid JSON: "),
    ({"model": "m", "messages": BODY["messages"]}, "max_tokens: Field required"),
    ({"max_tokens": 1, "messages": BODY["messages"]}, "model: Field required"),
    ({"model": "m", "max_tokens": 1}, "messages: Field required"),
    (BODY | {"messages": []}, "messages: "),
    (BODY | {"max_tokens": -1}, "max_tokens: Input should be greater than or equal to 0"),
    (BODY | {"temperature": 1.5}, "temperature: Input should be less than or equal to 1"),
    (BODY | {"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role: Input should be "),
    (BODY | {"messages": [{"role": "user"}]}, "messages.0.content: Field required"),
    (BODY | {"messages": [{"role": "user", "content": 5}]}, "messages.0.content: "),
    (BODY | {"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages.0.content.0.type: Field required"),
    (BODY | {"tool_choice": {"type": "any"}}, "tool_choice: is only allowed when 'tools' are specified"),
    (BODY | {"tools": TOOLS, "tool_choice": {"type": "tool", "name": "h"}}, "tool_choice: there is no tool 'h'"),
    (BODY | {"thinking": {"type": "enabled"}}, "thinking.enabled.budget_tokens: Field required"),
    (BODY | {"thinking": {"type": "enabled", "budget_tokens": 5}}, "thinking.budget_tokens: Input should be greater"),
    (BODY | {"thinking": {"type": "enabled", "budget_tokens": 2048}}, "`max_tokens` must be greater than"),
    (BODY | {"mcp_servers": [{"type": "url"}]}, "MCP servers can't be called"),
]


@pytest.mark.parametrize(("body", "message"), REFUSED)
async def test_what_is_wrong_with_a_request_is_named(body: Any, message: str) -> None:
    status, said = await refusal("messages", body)
    assert (status, said["error"]["type"]) == (400, "invalid_request_error")
    assert said["error"]["message"].startswith(message)


async def test_counting_needs_no_max_tokens_and_agrees_with_the_prompt() -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "héllo"}], "system": "Be brief."}
    counted = await answer(DIALECT.verbs["count_tokens"], call("POST", "/v1/messages/count_tokens", body))
    assert counted.json == {"input_tokens": len(TOKENIZER.encode("<|system|>Be brief.\n<|user|>héllo\n<|assistant|>"))}


async def listed(models: FakeModels, **query: str) -> Any:
    return (await answer(DIALECT.verbs["models"], call("GET", "/v1/models", models=models, query=query))).json


def models_named(*names: str) -> FakeModels:
    return FakeModels([Served(name, ScriptedBackend(), CREATED) for name in names])


async def test_models() -> None:
    assert await listed(models_named("a", "b")) == {
        "data": [
            {
                "type": "model",
                "id": name,
                "display_name": name,
                "created_at": "2023-11-14T22:13:21Z",
                "lifecycle": "active",
                "max_input_tokens": 4096,
                "max_tokens": 4096,
            }
            for name in "ab"
        ],
        "has_more": False,
        "first_id": "a",
        "last_id": "b",
    }


@pytest.mark.parametrize(
    ("query", "ids", "has_more"),
    [
        ({"limit": "2"}, "ab", True),
        ({"limit": "2", "after_id": "b"}, "cd", False),
        ({"limit": "1", "before_id": "c"}, "b", True),
        ({"after_id": "d"}, "", False),
    ],
)
async def test_models_come_in_pages(query: dict[str, str], ids: str, has_more: bool) -> None:
    page = await listed(models_named(*"abcd"), **query)
    assert [card["id"] for card in page["data"]] == list(ids)
    assert page["has_more"] is has_more
    assert (page["first_id"], page["last_id"]) == ((ids[0], ids[-1]) if ids else (None, None))


async def test_a_model_is_looked_up_by_name() -> None:
    asked = call("GET", "/v1/models/demo", params={"model": "demo"})
    assert (await answer(DIALECT.verbs["model"], asked)).json["id"] == "demo"
    with pytest.raises(UnknownModel):
        await DIALECT.verbs["model"](call("GET", "/v1/models/x", params={"model": "x"}))


async def test_unknown_model_of_a_message() -> None:
    status, said = await refusal("messages", BODY, models=FakeModels.of(refuses=True))
    assert (status, said["error"]) == (404, {"type": "not_found_error", "message": "model: m"})


def test_unknown_routes_and_methods_have_the_same_envelope() -> None:
    asked = call("GET", "/v1/message")
    unknown = DIALECT.unknown_route(asked, "POST /v1/messages")
    assert unknown.status == 404
    assert orjson.loads(unknown.body)["error"] == {
        "type": "not_found_error",
        "message": "Not found: did you mean POST /v1/messages?",
    }
    wrong = DIALECT.wrong_method(asked, ["POST"])
    assert (wrong.status, wrong.headers["Allow"]) == (405, "POST")
    assert orjson.loads(wrong.body)["error"]["type"] == "invalid_request_error"
