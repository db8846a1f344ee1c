"""/v1/chat/completions as llama-cpp-python answers it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from backends.request import (
    AnyJson,
    ChatPrompt,
    FunctionCall,
    Gbnf,
    JsonSchema,
    Message,
    NamedTool,
    OutputFormat,
    Tool,
    ToolChoice,
)
from tests.adapters.llamacpp_python_tools import (
    FUNCTION,
    NAMED,
    TOOLS,
    USER,
    ask,
    parsed,
    recorded,
    recorded_events,
    replied,
    stream,
)
from tests.conformance.shape import differences, nothing_extra
from tests.fakes import CUT, HELLO, THINKING, TWO_CALLS, WEATHER, Script, called

BODY: dict[str, Any] = {"messages": USER}
UUID = "00000000-0000-0000-0000-000000000000"


async def prompt_of(fields: dict[str, Any]) -> ChatPrompt:
    (prompt,) = (await parsed("chat", BODY | fields)).prompts
    assert isinstance(prompt, ChatPrompt)
    return prompt


async def test_messages() -> None:
    messages = [
        {"role": "system", "content": "S"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "content": "1", "tool_call_id": "c"},
        {"role": "function", "content": "2", "name": "g"},
    ]  # fmt: skip
    assert (await prompt_of({"messages": messages})).messages == (
        Message("system", "S"),
        Message("user", "a\nb"),
        Message("assistant", "", tool_calls=(FunctionCall("c", "f", "{}"),)),
        Message("tool", "1", tool_call_id="c"),
        Message("tool", "2", name="g"),
    )


async def test_an_assistants_message_at_the_end_is_answered() -> None:
    prompt = await prompt_of({"messages": [*USER, {"role": "assistant", "content": "The"}]})
    assert (prompt.continue_final, prompt.add_generation_prompt) == (False, True)


LENGTHS: list[tuple[dict[str, Any], int | None]] = [
    ({}, None), ({"max_tokens": 0}, None), ({"max_tokens": -1}, None), ({"max_tokens": 3}, 3),
    ({"max_completion_tokens": 4}, 4), ({"max_tokens": 3, "max_completion_tokens": 4}, 3),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "length"), LENGTHS)
async def test_length(fields: dict[str, Any], length: int | None) -> None:
    assert (await parsed("chat", BODY | fields)).max_tokens == length


CHOICES: list[tuple[dict[str, Any], ToolChoice]] = [
    ({"tools": TOOLS}, "auto"),
    ({"tools": TOOLS, "tool_choice": "none"}, "none"),
    ({"tools": TOOLS, "tool_choice": "required"}, "auto"),
    ({"tools": TOOLS, "tool_choice": NAMED}, NamedTool("get_weather")),
    ({"functions": [FUNCTION], "function_call": {"name": "get_weather"}}, NamedTool("get_weather")),
    ({"tool_choice": NAMED}, "auto"),
]


@pytest.mark.parametrize(("fields", "choice"), CHOICES)
async def test_tool_choice(fields: dict[str, Any], choice: ToolChoice) -> None:
    prompt = await prompt_of(fields)
    assert prompt.tool_choice == choice
    assert prompt.tools in ((), (Tool("get_weather", "Get weather", {"type": "object"}),))


async def test_a_choice_that_is_not_among_the_tools() -> None:
    refused = await replied("chat", BODY | {"tools": TOOLS, "tool_choice": {**NAMED, "function": {"name": "f"}}})
    assert (refused.status, orjson.loads(refused.body)["error"]["message"]) == (
        500,
        "Tool choice 'f' not found in tools.",
    )


FORMATS: list[tuple[dict[str, Any], OutputFormat | None]] = [
    ({"response_format": {"type": "json_object"}}, AnyJson()),
    ({"response_format": {"type": "json_object", "schema": {"type": "array"}}}, JsonSchema({"type": "array"})),
    ({"response_format": {"type": "text"}, "grammar": "root ::= x"}, Gbnf("root ::= x")),
    ({}, None),
]


@pytest.mark.parametrize(("fields", "output"), FORMATS)
async def test_formats(fields: dict[str, Any], output: OutputFormat | None) -> None:
    assert (await parsed("chat", BODY | fields)).output == output


async def test_log_probabilities_need_a_number() -> None:
    assert (await parsed("chat", BODY | {"logprobs": True})).top_logprobs is None
    assert (await parsed("chat", BODY | {"logprobs": True, "top_logprobs": 2})).top_logprobs == 2
    assert (await parsed("chat", BODY | {"top_logprobs": 2})).top_logprobs is None


# the answer


async def test_a_whole_answer_is_like_the_recorded_one() -> None:
    ours = await ask("chat", BODY | {"model": "tiny"}, HELLO)
    assert differences(orjson.loads(recorded("chat_basic").body), ours, nothing_extra) == []
    assert ours["choices"][0]["message"] == {"content": "Hello world", "role": "assistant"}
    assert ours["id"] == f"chatcmpl-{UUID}"


async def test_a_whole_answer_has_the_number_in_front_of_the_bytes() -> None:
    """FastAPI writes it in the order of the declared type; a stream is written as it was made."""
    ours = await ask("chat", BODY | {"logprobs": True, "top_logprobs": 1}, HELLO)
    (token, *_) = ours["choices"][0]["logprobs"]["content"]
    assert list(token) == ["token", "logprob", "bytes", "top_logprobs"]


async def test_what_is_no_schema_asks_for_any_json() -> None:
    wanted = {"type": "json_object", "schema": "none"}
    assert (await parsed("chat", BODY | {"response_format": wanted})).output == AnyJson()


async def test_a_named_tool_must_be_among_the_tools() -> None:
    reply = await replied("chat", BODY | {"tools": [], "tool_choice": NAMED})
    assert orjson.loads(reply.body)["error"]["message"] == "Tool choice 'get_weather' not found in tools."


async def test_the_newer_name_of_the_length_is_never_complained_of() -> None:
    assert (await parsed("chat", BODY | {"max_completion_tokens": "many"})).max_tokens is None


async def test_a_named_call_is_told_twice() -> None:
    ours = await ask("chat", BODY | {"tools": TOOLS, "tool_choice": NAMED}, WEATHER)
    assert differences(orjson.loads(recorded("chat_tools_named").body), ours, nothing_extra) == []
    choice = ours["choices"][0]
    function = {"name": "get_weather", "arguments": '{"city":"Paris"}'}
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"] == {
        "content": None,
        "tool_calls": [{"id": f"call__0_get_weather_cmpl-{UUID}", "type": "function", "function": function}],
        "role": "assistant",
        "function_call": function,
    }


@pytest.mark.parametrize("case", ["chat_length_stream", "chat_stream_usage"])
async def test_a_stream_is_like_the_recorded_one(case: str) -> None:
    first, *pieces, last, done = await stream("chat", BODY, CUT)
    their_first, piece, *_, their_last, their_done = recorded_events(case)
    assert differences(their_first, first, nothing_extra) == []
    assert differences(their_last, last, nothing_extra) == []
    for ours in pieces:
        assert differences(piece, ours, nothing_extra) == []
    assert [ours["choices"][0]["delta"]["content"] for ours in pieces] == ["one", " two"]
    assert done == their_done == "[DONE]"


async def test_streamed_log_probabilities_are_like_the_recorded_ones() -> None:
    _, piece, *_ = await stream("chat", BODY | {"logprobs": True, "top_logprobs": 2}, HELLO)
    assert differences(recorded_events("chat_logprobs_stream")[1], piece, nothing_extra) == []


async def test_a_streamed_call_is_like_the_recorded_one() -> None:
    first, *pieces, last, _ = await stream("chat", BODY | {"tools": TOOLS, "tool_choice": NAMED}, WEATHER)
    their_first, piece, *_, their_last, _ = recorded_events("chat_tools_named_stream")
    assert differences(their_first, first, nothing_extra) == []
    assert differences(their_last, last, nothing_extra) == []
    for ours in pieces:
        assert differences(piece, ours, nothing_extra) == []
    deltas = [ours["choices"][0]["delta"] for ours in pieces]
    assert "".join(delta["function_call"]["arguments"] for delta in deltas) == '{"city":"Paris"}'
    assert {delta["tool_calls"][0]["id"] for delta in deltas} == {f"call__0_get_weather_cmpl-{UUID}"}
    assert last["choices"][0]["finish_reason"] == "tool_calls"


async def test_calls_unbidden_are_told_as_calls() -> None:
    streamed = await stream("chat", BODY | {"tools": TOOLS}, TWO_CALLS)
    numbers = [
        call["index"] for chunk in streamed[:-1] for call in chunk["choices"][0]["delta"].get("tool_calls") or ()
    ]
    assert numbers == [0, 1]
    assert streamed[-2]["choices"][0]["finish_reason"] == "tool_calls"
    assert len((await ask("chat", BODY | {"tools": TOOLS}, TWO_CALLS))["choices"][0]["message"]["tool_calls"]) == 2


async def test_a_call_without_arguments_is_told_too() -> None:
    streamed = await stream("chat", BODY, Script(called("f"), reason="tool_calls"))
    assert streamed[1]["choices"][0]["delta"]["function_call"] == {"name": "f", "arguments": ""}


async def test_thought_has_a_field_of_its_own() -> None:
    assert (await ask("chat", BODY, THINKING))["choices"][0]["message"]["reasoning_content"] == "Let me see."
    streamed = await stream("chat", BODY, THINKING)
    assert streamed[1]["choices"][0]["delta"] == {"reasoning_content": "Let me"}
