"""What Claude Code sends, shape by shape, on every listener that it may be pointed at (ANTHROPIC_BASE_URL)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.gateway_process import Gateway, Response

HEADERS = {
    "anthropic-version": "2023-06-01",
    "anthropic-beta": "claude-code-20250219,interleaved-thinking-2025-05-14,context-management-2025-06-27",
    "Authorization": "Bearer none",
    "User-Agent": "claude-cli/2.1.0 (external, cli)",
    "x-app": "cli",
    "Content-Type": "application/json",
}
CACHED = {"cache_control": {"type": "ephemeral"}}
SYSTEM = [
    {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.0; cch=00000;"},
    {"type": "text", "text": "You are Claude Code, Anthropic's official CLI for Claude.", **CACHED},
]
READ = {
    "name": "Read",
    "description": "Reads a file.",
    "input_schema": {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {"file_path": {"type": "string", "enum": ["/a.py", "/b.py"]}},
        "required": ["file_path"],
        "additionalProperties": False,
    },
    **CACHED,
}
SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}
FIRST = {"role": "user", "content": [{"type": "text", "text": "<system-reminder>x</system-reminder>"},
                                     {"type": "text", "text": "Read a.py", **CACHED}]}  # fmt: skip
TURN = {
    "model": "claude-sonnet-4-5-20250929",
    "max_tokens": 64,
    "system": SYSTEM,
    "tools": [READ, SEARCH],
    "messages": [FIRST],
    "metadata": {"user_id": '{"device_id":"x","session_id":"y"}'},
    "thinking": {"type": "adaptive"},
    "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
    "output_config": {"effort": "high"},
}
USED = {"type": "tool_use", "id": "toolu_01", "name": "Read", "input": {"file_path": "/a.py"}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_01", "content": [{"type": "text", "text": "import os"}]}

listeners = pytest.mark.parametrize("persona", ["openai", "llamacpp", "ollama"])


def ask(dragoman: Gateway, persona: str, path: str, body: dict[str, Any]) -> Response:
    answer = dragoman.ask(persona, "POST", path + "?beta=true", body, HEADERS)
    assert answer.status == 200, answer.text
    return answer


@listeners
def test_it_sees_a_sign_of_life(dragoman: Gateway, persona: str) -> None:
    assert dragoman.ask(persona, "HEAD", "/", headers=HEADERS).status == 200


@listeners
def test_a_streamed_turn_is_read_in_order(dragoman: Gateway, persona: str) -> None:
    answer = ask(dragoman, persona, "/v1/messages", TURN | {"stream": True})
    names = [line.removeprefix("event: ") for line in answer.text.splitlines() if line.startswith("event: ")]
    told = [name for name in names if name != "ping"]
    assert told[0] == "message_start"
    assert told[-2:] == ["message_delta", "message_stop"]
    assert told.count("content_block_start") == told.count("content_block_stop")


@listeners
def test_a_call_goes_out_and_its_result_comes_back(dragoman: Gateway, persona: str) -> None:
    """Ollama's layer ignores the choice; what it would call is the model's affair there."""
    called = ask(dragoman, persona, "/v1/messages", TURN | {"tool_choice": {"type": "tool", "name": "Read"}}).json
    if persona != "ollama":
        assert called["stop_reason"] == "tool_use"
        assert called["content"][-1]["input"]["file_path"] in {"/a.py", "/b.py"}
    history = [FIRST, {"role": "assistant", "content": [USED]}, {"role": "user", "content": [RESULT]}]
    assert ask(dragoman, persona, "/v1/messages", TURN | {"messages": history}).json["role"] == "assistant"


@listeners
def test_tokens_are_counted_as_they_are_charged(dragoman: Gateway, persona: str) -> None:
    counted = {name: TURN[name] for name in ("model", "system", "tools", "messages", "thinking")}
    number = ask(dragoman, persona, "/v1/messages/count_tokens", counted).json["input_tokens"]
    usage = ask(dragoman, persona, "/v1/messages", TURN).json["usage"]
    assert number == usage["input_tokens"] + usage.get("cache_read_input_tokens", 0)


def test_the_probe_of_the_quota_is_one_token(dragoman: Gateway) -> None:
    probe = {"model": "claude-haiku-4-5", "max_tokens": 1, "messages": [{"role": "user", "content": "quota"}]}
    answered = ask(dragoman, "openai", "/v1/messages", probe).json
    assert (answered["stop_reason"], answered["usage"]["output_tokens"]) == ("max_tokens", 1)
