"""Every answer and every event of ours is valid for the SDKs' own types, strictly: no coercion, nothing missing."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from tests.e2e.gateway_process import Gateway, ndjson, sse_data
from tests.e2e.sdk import understood

MESSAGES = [{"role": "user", "content": "What are you?"}]
PARAMETERS = {"type": "object", "properties": {"city": {"enum": ["Paris", "Rome"]}}, "required": ["city"]}
TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": PARAMETERS}}
CHATS: list[dict[str, Any]] = [
    {"messages": MESSAGES, "max_tokens": 8},
    {"messages": MESSAGES, "max_tokens": 4, "n": 2},
    {"messages": MESSAGES, "max_tokens": 4, "logprobs": True, "top_logprobs": 2},
    {"messages": MESSAGES, "max_tokens": 64, "tools": [TOOL], "tool_choice": "required"},
    {"messages": MESSAGES, "max_tokens": 4, "stream_options": {"include_usage": True}},
]
COMPLETIONS: list[dict[str, Any]] = [
    {"prompt": "import ", "max_tokens": 4},
    {"prompt": ["import ", "class "], "max_tokens": 4, "n": 2},
    {"prompt": "import ", "max_tokens": 2, "logprobs": 2},
]
OPTIONS = {"options": {"num_predict": 8}}
OLLAMA_CHATS: list[dict[str, Any]] = [
    {"model": "demo", "messages": MESSAGES} | OPTIONS,
    {"model": "demo", "messages": MESSAGES, "tools": [TOOL]} | OPTIONS,
    {"model": "demo", "messages": []},
]
OLLAMA_GENERATES: list[dict[str, Any]] = [
    {"model": "demo", "prompt": "Hi"} | OPTIONS,
    {"model": "demo", "prompt": "x = ", "raw": True} | OPTIONS,
    {"model": "demo", "prompt": "def f(x):\n    return ", "suffix": "\n"} | OPTIONS,
]


def assert_valid(client: str, values: Iterable[tuple[str, Any]]) -> None:
    lines = [json.dumps({"type": name, "value": value}) for name, value in values]
    assert lines
    assert understood(client, "strict_types.py", stdin="\n".join(lines)) == []


def of(dragoman: Gateway, persona: str, path: str, body: dict[str, Any]) -> Any:
    answer = dragoman.ask(persona, "POST", path, body | {"stream": False})
    assert answer.status == 200, answer.text
    return answer.json


def events_of(dragoman: Gateway, persona: str, path: str, body: dict[str, Any]) -> list[Any]:
    answer = dragoman.ask(persona, "POST", path, body | {"stream": True})
    assert answer.status == 200, answer.text
    return ndjson(answer.body) if path.startswith("/api/") else sse_data(answer.body)


def openai_values(dragoman: Gateway, persona: str) -> Iterable[tuple[str, Any]]:
    for chat in CHATS:
        body = chat | {"model": "demo"}
        yield "openai.types.chat.ChatCompletion", of(dragoman, persona, "/v1/chat/completions", body)
        for event in events_of(dragoman, persona, "/v1/chat/completions", body):
            yield "openai.types.chat.ChatCompletionChunk", event
    for model in dragoman.ask(persona, "GET", "/v1/models").json["data"]:
        yield "openai.types.Model", model


def completion_values(dragoman: Gateway) -> Iterable[tuple[str, Any]]:
    for body in COMPLETIONS:
        yield "openai.types.Completion", of(dragoman, "openai", "/v1/completions", body)
        for event in events_of(dragoman, "openai", "/v1/completions", body):
            yield "openai.types.Completion", finished(event)


def finished(event: Any) -> Any:
    """The SDK has no type of its own for these events: only of a whole answer, whose finish_reason is never null."""
    choices = [choice | {"finish_reason": choice["finish_reason"] or "stop"} for choice in event["choices"]]
    return event | {"choices": choices}


def ollama_values(dragoman: Gateway) -> Iterable[tuple[str, Any]]:
    for path, name, bodies in (
        ("/api/chat", "ollama.ChatResponse", OLLAMA_CHATS),
        ("/api/generate", "ollama.GenerateResponse", OLLAMA_GENERATES),
    ):
        for body in bodies:
            yield name, of(dragoman, "ollama", path, body)
            yield from ((name, event) for event in events_of(dragoman, "ollama", path, body))
    yield "ollama.ShowResponse", of(dragoman, "ollama", "/api/show", {"model": "demo"})
    yield "ollama.ListResponse", dragoman.ask("ollama", "GET", "/api/tags").json
    yield "ollama.ProcessResponse", dragoman.ask("ollama", "GET", "/api/ps").json


def test_openai_chat(dragoman: Gateway) -> None:
    assert_valid("openai", openai_values(dragoman, "openai"))


def test_openai_completions(dragoman: Gateway) -> None:
    assert_valid("openai", completion_values(dragoman))


def test_openai_chat_as_ollama_speaks_it(dragoman: Gateway) -> None:
    assert_valid("openai", openai_values(dragoman, "ollama"))


def test_ollama(dragoman: Gateway) -> None:
    assert_valid("ollama", ollama_values(dragoman))
