"""POST /v1/chat/completions as llama.cpp answers it, its refusals, and /apply-template and input_tokens."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import orjson
import pytest

from backends.errors import BackendFailed
from backends.events import Finished, Prefilled, Started, Text, ToolCallArguments, ToolCallStarted
from backends.request import AnyJson, ChatPrompt, Gbnf, JsonSchema, Message, NamedTool
from tests.adapters.llamacpp_tools import (
    GOLDEN,
    USER,
    ask,
    events,
    exchange,
    frames,
    keys,
    parsed,
    read_frame,
    recorded,
    recorded_events,
    refusal,
    replied,
)
from tests.fakes import (
    CUT,
    INFO,
    THINKING,
    TWO_CALLS,
    WEATHER,
    Fails,
    Script,
    ScriptedBackend,
    called,
    said,
)

TOOLS = [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}]
CHAT: dict[str, Any] = {"messages": USER}


async def chat_prompt(**more: Any) -> ChatPrompt:
    (prompt,) = (await parsed("chat", CHAT | more)).prompts
    assert isinstance(prompt, ChatPrompt)
    return prompt


# the request


async def test_native_fields_work_here_too() -> None:
    request = await parsed("chat", CHAT | {"n_predict": 3, "max_tokens": 5, "top_k": 7, "min_p": 0})
    assert (request.max_tokens, request.sampling.top_k, request.sampling.min_p) == (3, 7, 0.0)
    assert (await parsed("chat", CHAT | {"max_completion_tokens": 3, "max_tokens": 5})).max_tokens == 3
    assert (await parsed("chat", CHAT)).max_tokens is None
    assert (await parsed("chat", CHAT | {"max_tokens": -1})).max_tokens is None


async def test_tools_and_their_choice() -> None:
    assert (await chat_prompt(tools=TOOLS)).tool_choice == "auto"
    assert (await chat_prompt(tools=TOOLS, tool_choice="required")).tool_choice == "required"
    named = {"type": "function", "function": {"name": "get_weather"}}
    assert (await chat_prompt(tools=TOOLS, tool_choice=named)).tool_choice == NamedTool("get_weather")
    unknown = {"type": "function", "function": {"name": "nope"}}
    assert (await chat_prompt(tools=TOOLS, tool_choice=unknown)).tool_choice == "auto"
    assert (await chat_prompt(tool_choice="required")).tool_choice == "auto"


@pytest.mark.parametrize(
    ("format_", "output"),
    [
        ({"type": "json_object"}, AnyJson()),
        ({"type": "json_object", "schema": {"type": "array"}}, JsonSchema({"type": "array"})),
        ({"type": "json_schema", "json_schema": {"schema": {"type": "array"}}}, JsonSchema({"type": "array"})),
        ({"type": "json_schema"}, AnyJson()),
        ({"type": "text"}, None),
        ("json", None),
        (None, None),
    ],
)
async def test_response_format(format_: object, output: object) -> None:
    assert (await parsed("chat", CHAT | {"response_format": format_})).output == output


async def test_a_grammar() -> None:
    assert (await parsed("chat", CHAT | {"grammar": 'root ::= "a"'})).output == Gbnf('root ::= "a"')


async def test_a_last_message_of_the_assistants_is_continued_and_repeated() -> None:
    messages = [*USER, {"role": "assistant", "content": "The cap"}]
    prompt = await chat_prompt(messages=messages)
    assert (prompt.continue_final, prompt.add_generation_prompt) == (True, False)
    whole = await ask("chat", {"messages": messages})
    assert whole["choices"][0]["message"]["content"] == "The capHello world"
    streamed = await events("chat", {"messages": messages})
    assert streamed[1]["choices"][0]["delta"] == {"content": "Hel"}


async def test_thinking_is_switched_by_any_of_its_fields() -> None:
    assert (await parsed("chat", CHAT)).reasoning is None
    assert (await parsed("chat", CHAT | {"reasoning_effort": "none"})).reasoning is False
    assert (await parsed("chat", CHAT | {"reasoning_budget_tokens": 0})).reasoning is False
    for enabled in (True, False):
        kwargs = {"chat_template_kwargs": {"enable_thinking": enabled}}
        assert (await parsed("chat", CHAT | kwargs)).reasoning is enabled
        assert (await chat_prompt(**kwargs)).template_args == {"enable_thinking": enabled}


async def test_an_unknown_role_passes_as_the_users() -> None:
    prompt = await chat_prompt(messages=[{"role": "banana", "content": "x"}])
    assert prompt.messages == (Message("user", "x"),)


async def test_log_probabilities() -> None:
    assert (await parsed("chat", CHAT | {"logprobs": True})).top_logprobs == 20
    assert (await parsed("chat", CHAT | {"logprobs": True, "top_logprobs": 3})).top_logprobs == 3
    assert (await parsed("chat", CHAT | {"logprobs": False})).top_logprobs is None


RECORDED_REFUSALS = [
    "chat_missing_messages", "chat_messages_string", "chat_messages_null", "chat_content_number",
    "chat_message_not_object", "chat_two_assistant_end", "chat_continue_final", "chat_reasoning_bad",
    "chat_rf_unknown", "chat_grammar_and_schema", "chat_tools_choice_bad", "chat_tools_not_array",
    "chat_top_logprobs_only", "chat_max_tokens_string", "chat_seed_string", "chat_content_image",
    "chat_content_audio", "chat_bad_json", "chat_empty_body",
]  # fmt: skip


@pytest.mark.parametrize("case", RECORDED_REFUSALS)
async def test_recorded_refusals_word_for_word(case: str) -> None:
    _, _, body = (GOLDEN / f"{case}.req").read_bytes().partition(b"\r\n\r\n")
    sees_nothing = ScriptedBackend(info=replace(INFO, capabilities=frozenset({"completion", "tools"})))
    reply = await replied("chat", body, backend=sees_nothing)
    assert (reply.status, reply.body) == (recorded(case).status, recorded(case).body)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"messages": [{"role": "assistant"}]}, "Assistant message must contain either 'content' or 'tool_calls'!"),
        ({"tools": TOOLS, "grammar": "x"}, "Cannot use custom grammar constraints with tools."),
        (
            {"tools": TOOLS, "logprobs": True, "stream": True},
            "logprobs is not supported with tools + stream",
        ),
        (
            {"chat_template_kwargs": {"enable_thinking": "yes"}},
            'invalid type for "enable_thinking" (expected boolean, got string)',
        ),
    ],
)
async def test_other_refusals(more: dict[str, Any], message: str) -> None:
    assert await refusal("chat", CHAT | more) == (400, "invalid_request_error", message)


UNREADABLE: list[tuple[dict[str, Any], str]] = [
    ({"content": "x"}, 'Missing \'role\' in message: {"content":"x"}'),
    ({"role": 5, "content": "x"}, "[json.exception.type_error.302] type must be string, but is number"),
    ({"role": "user", "content": [{"type": "text"}]}, "[json.exception.out_of_range.403] key 'text' not found"),
    ({"role": "assistant", "tool_calls": "x"}, 'Missing tool call type: "x"'),
    ({"role": "assistant", "tool_calls": [{"type": "x"}]}, 'Unsupported tool call type: {"type":"x"}'),
    ({"role": "assistant", "tool_calls": [{"type": "function"}]}, 'Missing tool call function: {"type":"function"}'),
]


@pytest.mark.parametrize(("message", "fault"), UNREADABLE)
async def test_messages_that_cannot_be_read_are_a_server_error(message: dict[str, Any], fault: str) -> None:
    refused = await refusal("chat", {"messages": [message, {"role": "user", "content": "x"}]})
    assert refused == (500, "server_error", f"Failed to parse messages: {fault}")


@pytest.mark.parametrize("part", [5, {}, {"type": "banana"}, {"type": "refusal", "refusal": "x"}])
async def test_an_unknown_part_is_refused_before_that(part: object) -> None:
    refused = await refusal("chat", {"messages": [{"role": "user", "content": [part]}]})
    assert refused == (400, "invalid_request_error", "unsupported content[].type")


@pytest.mark.parametrize(
    ("tool", "fault"),
    [
        ({}, "Missing tool type: {}"),
        ({"type": "x"}, 'Unsupported tool type: {"type":"x"}'),
        ({"type": "function"}, 'Missing tool function: {"type":"function"}'),
        ({"type": "function", "function": {}}, "[json.exception.out_of_range.403] key 'name' not found"),
    ],
)
async def test_tools_that_cannot_be_read_are_shown(tool: dict[str, Any], fault: str) -> None:
    shown = json.dumps([tool], indent=2)
    refused = await refusal("chat", CHAT | {"tools": [tool]})
    assert refused == (500, "server_error", f"Failed to parse tools: {fault}; tools = {shown}")


async def test_arguments_that_are_no_json_are_told_where() -> None:
    call = {"type": "function", "function": {"name": "f", "arguments": "notjson"}}
    messages = [{"role": "assistant", "content": None, "tool_calls": [call]}, {"role": "user", "content": "x"}]
    status, _, message = await refusal("chat", {"messages": messages})
    assert status == 500
    assert message.startswith(
        "Failed to parse tool call arguments as JSON: [json.exception.parse_error.101] parse error"
    )


async def test_a_format_of_no_kind_is_none() -> None:
    assert (await parsed("chat", CHAT | {"response_format": {"type": 5}})).output is None


# the whole answer


async def test_the_answer_has_the_recorded_keys_in_their_order() -> None:
    told = orjson.loads(recorded("chat_length").body)
    ours = await ask("chat", CHAT, backend=ScriptedBackend(CUT))
    assert keys(ours) == keys(told)
    assert keys(ours["usage"]) == keys(told["usage"])
    assert keys(ours["choices"][0]) == keys(told["choices"][0])
    assert ours["choices"][0]["message"] == {"role": "assistant", "content": "one two"}
    assert ours["choices"][0]["finish_reason"] == "length"
    assert ours["id"].startswith("chatcmpl-")
    assert ours["model"] == "tiny"


async def test_thought_and_calls_in_a_message() -> None:
    whole = await ask("chat", CHAT, backend=ScriptedBackend(THINKING))
    assert list(whole["choices"][0]["message"].items()) == [
        ("role", "assistant"),
        ("content", "Forty-two."),
        ("reasoning_content", "Let me see."),
    ]
    whole = await ask("chat", CHAT | {"tools": TOOLS}, backend=ScriptedBackend(WEATHER))
    choice = whole["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] == ""
    (made,) = choice["message"]["tool_calls"]
    assert list(made) == ["type", "function", "id"]
    assert made["function"] == {"name": "get_weather", "arguments": '{"city":"Paris"}'}


async def test_a_named_call_ends_as_any_other() -> None:
    named = {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "get_weather"}}}
    whole = await ask("chat", CHAT | named, backend=ScriptedBackend(WEATHER))
    assert whole["choices"][0]["finish_reason"] == "tool_calls"


async def test_log_probabilities_are_the_native_ones() -> None:
    body = CHAT | {"logprobs": True, "top_logprobs": 1}
    choice = (await ask("chat", body, backend=ScriptedBackend(Script(said("H")))))["choices"][0]
    assert list(choice) == ["finish_reason", "index", "message", "logprobs"]
    assert list(choice["logprobs"]["content"][0]) == ["id", "token", "bytes", "logprob", "top_logprobs"]


async def test_several_choices() -> None:
    whole = await ask("chat", CHAT | {"n": 2})
    assert [choice["index"] for choice in whole["choices"]] == [0, 1]


# the stream


async def test_a_stream_has_the_recorded_kinds_of_chunks() -> None:
    told, ours = recorded_events("chat_stream"), await events("chat", CHAT)
    for theirs, mine in ((told[0], ours[0]), (told[1], ours[1]), (told[-2], ours[-2])):
        assert keys(mine) == keys(theirs)
        assert keys(mine["choices"][0]) == keys(theirs["choices"][0])
    assert ours[0]["choices"][0]["delta"] == {"role": "assistant", "content": None}
    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in ours[:-1]) == "Hello world"
    assert ours[-2]["choices"][0] == {"finish_reason": "stop", "index": 0, "delta": {}}
    assert ours[-1] == "[DONE]"


async def test_usage_and_timings_ride_on_the_last_chunk() -> None:
    told = recorded_events("chat_stream_usage")
    ours = await events("chat", CHAT | {"stream_options": {"include_usage": True}})
    assert keys(ours[-2]) == keys(told[-2])
    assert (ours[-2]["choices"], ours[-2]["usage"]["completion_tokens"]) == ([], 11)
    assert "timings" not in ours[-3]
    assert "usage" not in (await events("chat", CHAT))[-2]


async def test_timings_with_every_token() -> None:
    told = recorded_events("chat_stream_timings")
    ours = await events("chat", CHAT | {"timings_per_token": True})
    assert keys(ours[0]) == keys(told[0])
    assert keys(ours[1]) == keys(told[1])
    assert [chunk["timings"]["predicted_n"] for chunk in ours[1:4]] == [3, 5, 11]


async def test_progress_repeats_the_role() -> None:
    first = (await events("chat", CHAT | {"return_progress": True}))[0]
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": None}
    assert list(first)[-1] == "prompt_progress"


async def test_the_first_piece_of_a_call_comes_with_its_name() -> None:
    told = recorded_events("tc_chat_auto_stream")[1]
    ours = await events("chat", CHAT | {"tools": TOOLS}, backend=ScriptedBackend(WEATHER))
    first = ours[1]["choices"][0]["delta"]["tool_calls"][0]
    assert keys(first) == keys(told["choices"][0]["delta"]["tool_calls"][0])
    assert first["function"] == {"name": "get_weather", "arguments": '{"city":'}
    assert ours[2]["choices"][0]["delta"] == {"tool_calls": [{"index": 0, "function": {"arguments": '"Pa'}}]}
    assert ours[-2]["choices"][0]["finish_reason"] == "tool_calls"


async def test_two_calls_and_one_without_arguments() -> None:
    script = Script((*called("f"), *called("g", "{}", call=1)), reason="tool_calls")
    ours = await events("chat", CHAT | {"tools": TOOLS}, backend=ScriptedBackend(script))
    calls = [chunk["choices"][0]["delta"]["tool_calls"][0] for chunk in ours[1:3]]
    assert [(made["index"], made["function"]) for made in calls] == [
        (0, {"name": "f"}),
        (1, {"name": "g", "arguments": "{}"}),
    ]
    text_first = await events("chat", CHAT | {"tools": TOOLS}, backend=ScriptedBackend(TWO_CALLS))
    assert text_first[1]["choices"][0]["delta"] == {"content": "Looking."}


async def test_thought_is_streamed_under_its_name() -> None:
    ours = await events("chat", CHAT, backend=ScriptedBackend(THINKING))
    assert ours[1]["choices"][0]["delta"] == {"reasoning_content": "Let me"}


async def test_tokens_without_text_send_nothing() -> None:
    made = await exchange("chat", CHAT | {"stream": True})
    for event in (Started(0, 1), Prefilled(0, 1, 0, 1, 0.1)):
        assert list(made.frames(event)) == []
    assert len(list(made.frames(Text(0, "", (1,))))) == 1  # the role
    assert list(made.frames(Text(0, "", (2,)))) == []
    assert list(made.frames(ToolCallStarted(0, 0, "id", "f"))) == []
    assert list(made.frames(ToolCallArguments(0, 0, ""))) == []
    call_, end = made.frames(Finished(0, "tool_calls"))
    assert read_frame(call_)["choices"][0]["delta"]["tool_calls"][0]["function"] == {"name": "f"}
    assert read_frame(end)["choices"][0]["finish_reason"] == "tool_calls"


async def test_each_choice_begins_with_its_role() -> None:
    ours = await events("chat", CHAT | {"n": 2})
    first: dict[int, object] = {}
    for chunk in ours[:-1]:
        choice = chunk["choices"][0]
        first.setdefault(choice["index"], choice["delta"])
    assert list(first.values()) == [{"role": "assistant", "content": None}] * 2


async def test_one_event_a_frame_and_line_feeds_only() -> None:
    sent = await frames("chat", CHAT)
    assert all(frame.count(b"\n\n") == 1 and b"\r" not in frame for frame in sent)


async def test_an_error_in_mid_stream() -> None:
    broken = ScriptedBackend(fault=Fails(BackendFailed("the worker died"), after=4))
    streamed = await events("chat", CHAT, backend=broken)
    assert streamed[-1] == {"error": {"code": 500, "message": "the worker died", "type": "server_error"}}


# /apply-template and token counts


async def test_apply_template_leaves_the_bos_to_the_tokenizer() -> None:
    assert await ask("apply_template", CHAT) == {"prompt": "<|user|>hi\n<|assistant|>"}
    prefilled = {"messages": [*USER, {"role": "assistant", "content": "<s>yo"}]}
    assert await ask("apply_template", prefilled) == {"prompt": "<|user|>hi\n<|assistant|><s>yo"}
    assert (await refusal("apply_template", {}))[2] == "'messages' is required"


async def test_input_tokens() -> None:
    counted = await ask("input_tokens", CHAT, path="/v1/chat/completions/input_tokens")
    assert list(counted.items()) == [("input_tokens", 24), ("object", "response.input_tokens")]
    assert (await refusal("input_tokens", {"model": "tiny"}))[2] == "'messages' is required"
