"""What Anthropic's requests become: turns, blocks, tools, thinking, and what Claude Code sends."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.anthropic.dialect import DIALECT
from adapters.openai.response_input import seal
from backends.request import FunctionCall, Image, JsonSchema, Message, NamedTool, Tool, ToolChoice
from tests.adapters.anthropic_tools import BODY, TOOLS, USER, parsed, prompt_of, refusal
from tests.fakes import answer, call

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


def user(*blocks: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


def result(content: Any, call_id: str = "t1") -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": call_id, "content": content}


async def messages_of(*messages: Any, **fields: Any) -> tuple[Message, ...]:
    return (await prompt_of(fields | {"messages": list(messages)})).messages


async def test_system_is_text_or_blocks() -> None:
    for system in ("a\nb", [text("a") | {"cache_control": {"type": "ephemeral"}}, text("b")]):
        assert await messages_of(*USER, system=system) == (Message("system", "a\nb"), Message("user", "hi"))


async def test_a_turn_with_tools() -> None:
    said = await messages_of(
        user(text("weather?")),
        assistant(
            {"type": "thinking", "thinking": "Look it up.", "signature": "x"},
            text("Looking."),
            {"type": "tool_use", "id": "t1", "name": "f", "input": {"city": "Paris"}},
            {"type": "tool_use", "id": "t2", "name": "g", "input": {}},
        ),
        user(result("20C"), result([text("a"), text("b")], "t2"), text("and now?")),
    )
    calls = (FunctionCall("t1", "f", '{"city":"Paris"}'), FunctionCall("t2", "g", "{}"))
    assert said == (
        Message("user", "weather?"),
        Message("assistant", "Looking.", reasoning="Look it up.", tool_calls=calls),
        Message("tool", "20C", tool_call_id="t1"),
        Message("tool", "a\nb", tool_call_id="t2"),
        Message("user", "and now?"),
    )


async def test_a_result_may_be_empty_failed_or_a_picture() -> None:
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAEC"}}
    said = await messages_of(
        user({"type": "tool_result", "tool_use_id": "a"}, result("no such file", "b") | {"is_error": True}),
        user(result([picture], "c")),
    )
    assert said == (
        Message("tool", "", tool_call_id="a"),
        Message("tool", "no such file", tool_call_id="b"),
        Message("tool", "", (Image("image/png", b"\0\1\2"),), tool_call_id="c"),
    )


async def test_turns_of_one_side_in_a_row_are_one() -> None:
    said = await messages_of(
        {"role": "user", "content": "a"},
        {"role": "user", "content": "b"},
        assistant(text("c")),
        assistant({"type": "tool_use", "id": "t", "name": "f", "input": {}}),
    )
    assert said == (Message("user", "a\nb"), Message("assistant", "c", tool_calls=(FunctionCall("t", "f", "{}"),)))


async def test_a_system_message_in_the_middle_joins_the_users_turn() -> None:
    """Claude Code sends one; a leading one is the system prompt."""
    system = {"role": "system", "content": "Agents: none."}
    assert await messages_of(*USER, system) == (
        Message("user", "hi\n<system-reminder>\nAgents: none.\n</system-reminder>"),
    )
    assert await messages_of(system, *USER) == (Message("system", "Agents: none."), Message("user", "hi"))


async def test_claude_codes_stamp_does_not_spoil_the_prefix_cache() -> None:
    header = "x-anthropic-billing-header: cc_version=2.1; cc_entrypoint=cli; cch={};You are Claude Code."
    prompts = [await messages_of(*USER, system=[text(header.format(stamp))]) for stamp in ("a5145", "0beef")]
    assert prompts[0] == prompts[1]
    assert await messages_of(*USER, system="cch=a5145;") == (Message("system", "cch=a5145;"), Message("user", "hi"))


async def test_pictures_documents_and_search_results() -> None:
    (message,) = await messages_of(
        user(
            {"type": "image", "source": {"type": "url", "url": "http://x/y.png"}},
            {"type": "document", "title": "T", "context": "C", "source": {"type": "text", "data": "D"}},
            {"type": "document", "source": {"type": "content", "content": [text("E")]}},
            {"type": "search_result", "title": "S", "source": "http://z", "content": [text("F")]},
        )
    )
    assert message == Message("user", "T\nC\nD\nE\nS\nhttp://z\nF", (Image(url="http://x/y.png"),))


@pytest.mark.parametrize(
    ("block", "param"),
    [
        ({"type": "document", "source": {"type": "base64", "data": "JVBERi0="}}, "documents of type 'base64'"),
        ({"type": "image", "source": {"type": "file", "file_id": "file_1"}}, "image sources of type 'file'"),
        ({"type": "image", "source": {"type": "base64", "data": "?"}}, "messages.0.content.0.source.data: "),
        ({"type": "image"}, "messages.0.content.0.source: "),
        ({"type": "container_upload", "file_id": "file_1"}, "content blocks of type 'container_upload'"),
        (result([{"type": "browser_state"}]), "content blocks of type 'browser_state'"),
    ],
)
async def test_what_only_anthropics_servers_can_read_is_refused(block: Any, param: str) -> None:
    status, said = await refusal("messages", BODY | {"messages": [user(block)]})
    assert status == 400
    assert said["error"]["message"].startswith(param)


async def test_thought_comes_back_shown_sealed_or_not_at_all() -> None:
    blocks = [
        {"type": "thinking", "thinking": "a", "signature": "x"},
        {"type": "redacted_thinking", "data": "?"},
        {"type": "thinking", "thinking": "", "signature": seal("b")},
        text("c"),
    ]
    assert (await messages_of(*USER, assistant(*blocks), *USER))[1] == Message("assistant", "c", reasoning="a\nb")


async def test_an_assistants_message_at_the_end_is_continued() -> None:
    prompt = await prompt_of({"messages": [*USER, assistant(text("The answer is ("))]})
    assert (prompt.continue_final, prompt.add_generation_prompt) == (True, False)
    prompt = await prompt_of({"messages": USER})
    assert (prompt.continue_final, prompt.add_generation_prompt) == (False, True)


CHOICES: list[tuple[dict[str, Any], ToolChoice, bool]] = [
    ({"type": "auto"}, "auto", True),
    ({"type": "any"}, "required", True),
    ({"type": "none"}, "none", True),
    ({"type": "tool", "name": "g"}, NamedTool("g"), True),
    ({"type": "any", "disable_parallel_tool_use": True}, "required", False),
]


@pytest.mark.parametrize(("choice", "meant", "is_parallel"), CHOICES)
async def test_tool_choice(choice: dict[str, Any], meant: ToolChoice, is_parallel: bool) -> None:
    prompt = await prompt_of({"tools": TOOLS, "tool_choice": choice})
    assert prompt.tools == (Tool("f", "F", {"type": "object"}), Tool("g", "", {"type": "object"}))
    assert (prompt.tool_choice, prompt.parallel_tool_calls) == (meant, is_parallel)


async def test_anthropics_own_tools_are_left_out_and_reported() -> None:
    body = BODY | {
        "tools": [{"type": "web_search_20250305", "name": "web_search"}, *TOOLS],
        "metadata": {"user_id": "u"},
    }
    asked = call("POST", "/v1/messages", body)
    await answer(DIALECT.verbs["messages"], asked)
    assert asked.ignored == ["metadata", "tools.0"]
    assert [tool.name for tool in (await prompt_of({"tools": body["tools"]})).tools] == ["f", "g"]


async def test_fields_reach_the_backend() -> None:
    request = await parsed({
        "max_tokens": 20,
        "stop_sequences": ["X", ""],
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 7,
        "output_config": {"effort": "high", "format": {"type": "json_schema", "schema": SCHEMA}},
    })  # fmt: skip
    assert (request.max_tokens, request.stop, request.output) == (20, ("X",), JsonSchema(SCHEMA))
    assert (request.sampling.temperature, request.sampling.top_p, request.sampling.top_k) == (0.5, 0.9, 7)
    (prompt,) = request.prompts
    assert getattr(prompt, "template_args", None) == {"reasoning_effort": "high"}


async def test_output_format_before_it_moved() -> None:
    assert (await parsed({"output_format": {"type": "json_schema", "schema": SCHEMA}})).output == JsonSchema(SCHEMA)


@pytest.mark.parametrize(
    ("thinking", "reasoning"),
    [
        (None, None),
        ({"type": "adaptive"}, None),
        ({"type": "disabled"}, False),
        ({"type": "enabled", "budget_tokens": 1024}, True),
    ],
)
async def test_thinking(thinking: Any, reasoning: bool | None) -> None:
    assert (await parsed({"thinking": thinking, "max_tokens": 2000})).reasoning is reasoning


async def test_a_budget_of_thought_is_reported_as_without_effect() -> None:
    body = BODY | {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 2000}
    asked = call("POST", "/v1/messages", body)
    await answer(DIALECT.verbs["messages"], asked)
    assert asked.ignored == ["thinking.budget_tokens"]
