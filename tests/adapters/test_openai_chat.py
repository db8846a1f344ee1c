"""POST /v1/chat/completions: what reaches the backend, and what the client gets."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.openai.chat import ChatExchange, chat
from adapters.openai.common import AnswerOptions
from backends.errors import BackendFailed, InvalidField, InvalidRequest, MissingField, Unsupported
from backends.events import Text
from backends.request import (
    TEMPERATURE_FIRST,
    AnyJson,
    ChatPrompt,
    Choice,
    Gbnf,
    GenerateRequest,
    JsonSchema,
    NamedTool,
    OutputFormat,
    Regex,
    Sampling,
    Tool,
)
from tests.adapters.openai_tools import TOOLS, USER, ask, parsed, read_frame, stream
from tests.fakes import CUT, EMOJI, HELLO, STOPPED, THINKING, TWO_CALLS, WEATHER, Fails, FakeModels, call

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}


async def prompt_of(**fields: Any) -> ChatPrompt:
    (prompt,) = (await parsed("chat", {"messages": USER} | fields)).prompts
    assert isinstance(prompt, ChatPrompt)
    return prompt


# the request


async def test_nothing_said_leaves_every_default_to_the_model() -> None:
    request = await parsed("chat", {"messages": USER})
    assert request.sampling == Sampling(order=TEMPERATURE_FIRST)
    assert request.max_tokens is None
    assert (request.n, request.stop, request.top_logprobs, request.output) == (1, (), None, None)


async def test_null_is_absent_and_a_whole_float_is_an_int() -> None:
    fields = {"max_tokens": 16.0, "seed": 1e3, "stop": None, "temperature": None, "tools": None, "n": None}
    request = await parsed("chat", {"messages": USER} | fields)
    assert (request.max_tokens, request.sampling.seed, request.n) == (16, 1000, 1)


async def test_samplers_reach_the_backend() -> None:
    fields = {
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 5,
        "min_p": 0.1,
        "repetition_penalty": 1.1,
        "presence_penalty": 0.5,
        "frequency_penalty": -0.5,
        "logit_bias": {"42": -100, " the": 2},
        "seed": 7,
    }
    request = await parsed("chat", {"messages": USER} | fields)
    assert request.sampling == Sampling(
        order=TEMPERATURE_FIRST,
        temperature=0.5,
        top_k=5,
        top_p=0.9,
        min_p=0.1,
        repetition_penalty=1.1,
        presence_penalty=0.5,
        frequency_penalty=-0.5,
        logit_bias={42: -100, " the": 2},
        seed=7,
    )


async def test_vllm_fields_reach_the_backend() -> None:
    fields = {
        "stop_token_ids": [1, 2],
        "include_stop_str_in_output": True,
        "ignore_eos": True,
        "min_tokens": 3,
        "prompt_logprobs": 1,
    }
    request = await parsed("chat", {"messages": USER} | fields)
    assert (request.stop_token_ids, request.include_stop, request.ignore_eos) == ((1, 2), True, True)
    assert (request.min_tokens, request.prompt_logprobs) == (3, 1)


@pytest.mark.parametrize(
    ("fields", "length"),
    [
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 5}, 5),
        ({"max_completion_tokens": 5, "max_tokens": 9}, 5),
        ({"max_tokens": 3_000_000}, 3_000_000),
        ({"max_tokens": -1}, None),
        ({}, None),
    ],
)
async def test_length(fields: dict[str, int], length: int | None) -> None:
    assert (await parsed("chat", {"messages": USER} | fields)).max_tokens == length


@pytest.mark.parametrize(("stop", "read"), [("a", ("a",)), (["a", "b"], ("a", "b")), (["", "a"], ("a",)), ([], ())])
async def test_stop_is_a_string_or_a_list(stop: object, read: tuple[str, ...]) -> None:
    assert (await parsed("chat", {"messages": USER, "stop": stop})).stop == read


@pytest.mark.parametrize(
    ("fields", "read"),
    [
        ({"response_format": {"type": "text"}}, None),
        ({"response_format": {"type": "json_object"}}, AnyJson()),
        ({"response_format": {"type": "json_object", "schema": SCHEMA}}, JsonSchema(SCHEMA)),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}}}, JsonSchema(SCHEMA)),
        ({"guided_json": SCHEMA}, JsonSchema(SCHEMA)),
        ({"guided_json": '{"type":"object"}'}, JsonSchema({"type": "object"})),
        ({"guided_regex": "a+"}, Regex("a+")),
        ({"guided_choice": ["a", "b"]}, Choice(("a", "b"))),
        ({"guided_grammar": "root ::= x"}, Gbnf("root ::= x")),
        ({"structured_outputs": {"json": SCHEMA}}, JsonSchema(SCHEMA)),
        ({"structured_outputs": {"choice": ["a"]}}, Choice(("a",))),
        ({"structured_outputs": {"json_object": True}}, AnyJson()),
    ],
)  # fmt: skip
async def test_output_formats(fields: dict[str, object], read: OutputFormat | None) -> None:
    assert (await parsed("chat", {"messages": USER} | fields)).output == read


async def test_tools_and_choices() -> None:
    prompt = await prompt_of(tools=TOOLS, tool_choice="required", parallel_tool_calls=False)
    assert prompt.tools == (Tool("f", "F", {"type": "object"}), Tool("g"))
    assert (prompt.tool_choice, prompt.parallel_tool_calls) == ("required", False)
    named = await prompt_of(tools=TOOLS, tool_choice={"type": "function", "function": {"name": "g"}})
    assert named.tool_choice == NamedTool("g")
    assert (await prompt_of(tools=TOOLS)).tool_choice == "auto"
    assert (await prompt_of(tools=TOOLS, tool_choice="none")).tool_choice == "none"


async def test_legacy_functions_are_tools() -> None:
    prompt = await prompt_of(functions=[{"name": "f", "parameters": {}}], function_call={"name": "f"})
    assert prompt.tools == (Tool("f"),)
    assert (prompt.tool_choice, prompt.parallel_tool_calls) == (NamedTool("f"), False)


async def test_template_arguments() -> None:
    prompt = await prompt_of(
        chat_template_kwargs={"enable_thinking": False}, documents=[{"text": "d"}], reasoning_effort="low"
    )
    assert prompt.template_args == {
        "enable_thinking": False,
        "documents": [{"text": "d"}],
        "reasoning_effort": "low",
    }


@pytest.mark.parametrize(("effort", "reasoning"), [("none", False), ("high", True), (None, None)])
async def test_reasoning_effort(effort: str | None, reasoning: bool | None) -> None:
    assert (await parsed("chat", {"messages": USER, "reasoning_effort": effort})).reasoning is reasoning


async def test_continue_final_message() -> None:
    messages = [*USER, {"role": "assistant", "content": "The"}]
    prompt = await prompt_of(messages=messages, continue_final_message=True)
    assert (prompt.continue_final, prompt.add_generation_prompt) == (True, False)
    with pytest.raises(InvalidField, match="add_generation_prompt"):
        await prompt_of(messages=messages, continue_final_message=True, add_generation_prompt=True)
    with pytest.raises(InvalidField, match="assistant"):
        await prompt_of(continue_final_message=True)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages.0.content"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": -1}, "temperature"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"n": 0}, "n"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"presence_penalty": 3}, "presence_penalty"),
        ({"stop": [1]}, "stop.0"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"response_format": {"type": "structural_tag"}}, "response_format.type"),
        ({"structured_outputs": {"regex": "a", "choice": ["b"]}}, "structured_outputs"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {"function": {"name": "h"}}}, "tool_choice"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools.0.type"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"use_beam_search": True}, "use_beam_search"),
        ({"chat_template": "{{ x }}"}, "chat_template"),
    ],
)
async def test_a_refusal_names_the_field(fields: dict[str, object], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await parsed("chat", {"messages": USER} | fields)
    assert caught.value.param == param


async def test_a_prompt_is_no_chat() -> None:
    with pytest.raises(MissingField) as caught:
        await parsed("chat", {"prompt": "hi"})
    assert caught.value.param == "messages"


async def test_harmless_values_of_refused_fields_pass() -> None:
    fields = {"modalities": ["text"], "use_beam_search": False, "skip_special_tokens": True, "bad_words": []}
    await parsed("chat", {"messages": USER} | fields)


async def test_fields_without_effect_are_reported() -> None:
    """Twinny 3.11 sends a prompt and Ollama's options beside the messages."""
    asked = call(
        "POST", "/v1/chat/completions",
        {"messages": USER, "prompt": "x", "options": {"num_ctx": 1}, "store": True, "metadata": {}, "user": "u"},
        models=FakeModels.of(),
    )  # fmt: skip
    await chat(asked)
    assert asked.ignored == ["prompt", "options", "store", "metadata", "user"]


async def test_audio_parts_are_refused() -> None:
    part = {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}
    with pytest.raises(Unsupported) as caught:
        await parsed("chat", {"messages": [{"role": "user", "content": [part]}]})
    assert caught.value.param == "messages.0.content.0.type"


# the answer


async def test_whole_answer() -> None:
    body = await ask("chat", {"model": "m", "messages": USER}, cached_tokens=3)
    assert {key: body[key] for key in ("id", "object", "created", "model")} == {
        "id": "chatcmpl-" + "0" * 32,
        "object": "chat.completion",
        "created": 1_700_000_001,
        "model": "m",
    }
    (choice,) = body["choices"]
    assert choice["message"]["role"] == "assistant"
    assert choice["message"]["content"] == "Hello world"
    assert (choice["finish_reason"], choice["stop_reason"], choice["logprobs"]) == ("stop", None, None)
    assert body["usage"]["total_tokens"] == body["usage"]["prompt_tokens"] + body["usage"]["completion_tokens"]
    assert body["usage"]["prompt_tokens_details"]["cached_tokens"] == 3


async def test_the_name_that_was_asked_for_comes_back() -> None:
    assert (await ask("chat", {"messages": USER, "model": "gpt-3.5-turbo"}))["model"] == "gpt-3.5-turbo"
    assert (await ask("chat", {"messages": USER, "model": ""}))["model"] == "demo"
    assert (await ask("chat", {"messages": USER}))["model"] == "demo"


async def test_stream_begins_with_the_role_and_ends_with_done() -> None:
    first, *deltas, last, done = await stream("chat", {"messages": USER})
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert [event["choices"][0]["delta"] for event in deltas] == [
        {"content": "Hel"},
        {"content": "lo"},
        {"content": " world"},
    ]
    assert last["choices"][0]["delta"] == {}
    assert last["choices"][0]["finish_reason"] == "stop"
    assert done == "[DONE]"
    assert all(event["object"] == "chat.completion.chunk" for event in (first, *deltas, last))
    assert not any("usage" in event for event in (first, *deltas, last))


async def test_usage_comes_once_and_only_when_asked() -> None:
    *chunks, usage, _ = await stream("chat", {"messages": USER, "stream_options": {"include_usage": True}})
    assert usage["choices"] == []
    assert usage["usage"] == (await ask("chat", {"messages": USER}))["usage"]
    assert [chunk["usage"] for chunk in chunks] == [None] * len(chunks)
    assert not any("usage" in chunk for chunk in await stream("chat", {"messages": USER, "stream_options": {}}))


async def test_continuous_usage_counts_up() -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    *chunks, usage, _ = await stream("chat", {"messages": USER, "stream_options": options}, THINKING)
    counts = [chunk["usage"]["completion_tokens"] for chunk in chunks]
    assert counts == sorted(counts)
    assert counts[-1] == usage["usage"]["completion_tokens"]


async def test_streamed_text_equals_the_whole_answer_whatever_is_in_it() -> None:
    for script in (HELLO, EMOJI, THINKING):
        events = await stream("chat", {"messages": USER}, script)
        text = "".join(event["choices"][0]["delta"].get("content", "") for event in events[:-1])
        assert text == (await ask("chat", {"messages": USER}, script))["choices"][0]["message"]["content"]


@given(st.lists(st.text(), min_size=1))
def test_any_text_survives_the_template(texts: list[str]) -> None:
    asked = call("POST", "/v1/chat/completions")
    served = asked.models.resolve(None)
    exchange = ChatExchange(asked, served, GenerateRequest(id="1", prompts=()), AnswerOptions(streams=True))
    deltas = [read_frame(frame)["choices"][0]["delta"] for text in texts for frame in exchange.frames(Text(0, text))]
    assert [delta["content"] for delta in deltas] == texts


def test_half_a_surrogate_pair_is_no_error() -> None:
    asked = call("POST", "/v1/chat/completions")
    served = asked.models.resolve(None)
    exchange = ChatExchange(asked, served, GenerateRequest(id="1", prompts=()), AnswerOptions(streams=True))
    (frame,) = exchange.frames(Text(0, "a\ud83d"))
    assert read_frame(frame)["choices"][0]["delta"] == {"content": "a?"}


async def test_several_choices_are_told_apart() -> None:
    events = (await stream("chat", {"messages": USER, "n": 2}))[:-1]
    for index in (0, 1):
        own = [event["choices"][0] for event in events if event["choices"][0]["index"] == index]
        assert "".join(choice["delta"].get("content", "") for choice in own) == "Hello world"
        assert own[-1]["finish_reason"] == "stop"
    body = await ask("chat", {"messages": USER, "n": 2})
    assert [choice["index"] for choice in body["choices"]] == [0, 1]


async def test_thought_has_both_names() -> None:
    message = (await ask("chat", {"messages": USER}, THINKING))["choices"][0]["message"]
    assert message["reasoning"] == message["reasoning_content"] == "Let me see."
    deltas = [event["choices"][0]["delta"] for event in (await stream("chat", {"messages": USER}, THINKING))[1:3]]
    assert deltas[0] == {"reasoning_content": "Let me", "reasoning": "Let me"}
    assert deltas[1] == {"reasoning_content": " see.", "reasoning": " see."}


async def test_thought_can_be_declined() -> None:
    body = {"messages": USER, "include_reasoning": False}
    assert "reasoning" not in (await ask("chat", body, THINKING))["choices"][0]["message"]
    assert not any("Let me" in str(event) for event in await stream("chat", body, THINKING))


async def test_tool_calls() -> None:
    body = {"messages": USER, "tools": TOOLS}
    (choice,) = (await ask("chat", body, TWO_CALLS))["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["tool_calls"] == [
        {"id": "call_0", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
        {"id": "call_1", "type": "function", "function": {"name": "g", "arguments": "{}"}},
    ]
    deltas = [event["choices"][0]["delta"] for event in (await stream("chat", body, TWO_CALLS))[2:-2]]
    assert deltas == [
        {"tool_calls": [{"index": 0, "id": "call_0", "type": "function", "function": {"name": "f", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"x":1}'}}]},
        {"tool_calls": [{"index": 1, "id": "call_1", "type": "function", "function": {"name": "g", "arguments": ""}}]},
        {"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]},
    ]


async def test_content_is_null_beside_calls_alone() -> None:
    message = (await ask("chat", {"messages": USER, "tools": TOOLS}, WEATHER))["choices"][0]["message"]
    assert message["content"] is None


async def test_a_named_tool_ends_with_stop() -> None:
    body = {"messages": USER, "tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "f"}}}
    assert (await ask("chat", body, TWO_CALLS))["choices"][0]["finish_reason"] == "stop"


async def test_legacy_function_call() -> None:
    body = {"messages": USER, "functions": [{"name": "f"}]}
    (choice,) = (await ask("chat", body, TWO_CALLS))["choices"]
    assert choice["finish_reason"] == "function_call"
    assert choice["message"]["function_call"] == {"name": "f", "arguments": '{"x":1}'}
    assert "tool_calls" not in choice["message"]
    deltas = [event["choices"][0]["delta"] for event in (await stream("chat", body, TWO_CALLS))[2:4]]
    assert deltas == [
        {"function_call": {"name": "f", "arguments": ""}},
        {"function_call": {"arguments": '{"x":1}'}},
    ]


async def test_finish_reasons() -> None:
    (cut,) = (await ask("chat", {"messages": USER}, CUT))["choices"]
    (stopped,) = (await ask("chat", {"messages": USER}, STOPPED))["choices"]
    assert (cut["finish_reason"], cut["stop_reason"]) == ("length", None)
    assert (stopped["finish_reason"], stopped["stop_reason"]) == ("stop", " three")


async def test_logprobs() -> None:
    body = {"messages": USER, "logprobs": True, "top_logprobs": 2}
    content = (await ask("chat", body))["choices"][0]["logprobs"]["content"]
    assert content[0] == {
        "token": "H",
        "logprob": -0.5,
        "bytes": [72],
        "top_logprobs": [
            {"token": "H", "logprob": -0.5, "bytes": [72]},
            {"token": "I", "logprob": -1.5, "bytes": [73]},
        ],
    }
    streamed = [event["choices"][0]["logprobs"] for event in (await stream("chat", body))[1:-2]]
    assert [token for part in streamed for token in part["content"]] == content


async def test_bytes_that_are_no_text_have_a_name() -> None:
    content = (await ask("chat", {"messages": USER, "logprobs": True}, EMOJI))["choices"][0]["logprobs"]["content"]
    assert [token["token"] for token in content[1:5]] == [r"\xf0", r"\x9f", r"\x91", r"\x8b"]
    assert bytes(b for token in content for b in token["bytes"]).decode() == "a👋éz"


async def test_token_ids_on_request() -> None:
    body = {"messages": USER, "return_token_ids": True, "logprobs": True, "return_tokens_as_token_ids": True}
    whole = await ask("chat", body)
    assert bytes(whole["choices"][0]["token_ids"]) == b"Hello world"
    assert whole["prompt_token_ids"][0] == 256
    assert [entry["token"] for entry in whole["choices"][0]["logprobs"]["content"][:2]] == [
        "token_id:72",
        "token_id:101",
    ]
    first, *chunks, _, _ = await stream("chat", body)
    assert first["prompt_token_ids"] == whole["prompt_token_ids"]
    assert b"".join(bytes(chunk["choices"][0]["token_ids"]) for chunk in chunks) == b"Hello world"


async def test_a_stream_that_breaks_ends_with_its_error_and_no_done() -> None:
    events = await stream("chat", {"messages": USER}, fault=Fails(BackendFailed("the engine broke"), after=3))
    assert events[-1]["error"] == {
        "message": "the engine broke",
        "type": "server_error",
        "param": None,
        "code": "backend_failed",
    }
    assert "[DONE]" not in events
    assert not any("choices" in event and event["choices"][0]["finish_reason"] for event in events)
