"""POST /v1/chat/completions on Ollama's listener, where it differs from OpenAI's."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from typing import Any

import pytest

from backends.errors import BackendFailed, Busy
from backends.request import TEMPERATURE_FIRST, AnyJson, ChatPrompt, FunctionCall, Image, JsonSchema, Message, Sampling
from tests.adapters.ollama_tools import CHAT, JSON, JSON_UTF8, PLAIN, TOOLS, Said, ask
from tests.fakes import CUT, EMOJI, HELLO, INFO, THINKING, TWO_CALLS, WEATHER, Fails, FakeModels, Script, said

STREAM = CHAT | {"stream": True}
USAGE = {"include_usage": True}


async def prompt_of(messages: list[dict[str, Any]], **fields: object) -> ChatPrompt:
    seeing = replace(INFO, capabilities=INFO.capabilities | {"vision"})
    prompt = (await ask("chat_v1", CHAT | {"messages": messages} | fields, info=seeing)).prompt
    assert isinstance(prompt, ChatPrompt)
    return prompt


def refusal(said: Said) -> tuple[int, str]:
    """Checks that the layer itself refused: gin's own JSON, before its writer is there."""
    assert said.content_type == JSON_UTF8
    assert not said.body.endswith(b"\n")
    status, error = said.error
    assert error == {"message": error["message"], "type": "invalid_request_error", "param": None, "code": None}
    return status, error["message"]


# the request


async def test_the_defaults_are_the_layers_own() -> None:
    request = (await ask("chat_v1", CHAT)).request
    assert request.sampling == Sampling(order=TEMPERATURE_FIRST, penalize_prompt=True,
        temperature=1.0, top_k=40, top_p=1.0, min_p=0.0, typical_p=1.0, repetition_penalty=1.0, presence_penalty=0.0,
        frequency_penalty=0.0, penalty_window=64,
    )  # fmt: skip
    assert (request.max_tokens, request.stop, request.top_logprobs) == (None, (), None)


async def test_fields_become_options() -> None:
    fields = {
        "max_tokens": 7.0, "seed": 5, "stop": "x", "temperature": 0, "top_p": 0.5, "presence_penalty": 1,
        "frequency_penalty": -1, "logprobs": True, "top_logprobs": 2,
    }  # fmt: skip
    request = (await ask("chat_v1", CHAT | fields)).request
    sampling = request.sampling
    assert (request.max_tokens, request.stop, request.top_logprobs) == (7, ("x",), 2)
    assert (sampling.seed, sampling.temperature, sampling.top_p) == (5, 0.0, 0.5)
    assert (sampling.presence_penalty, sampling.frequency_penalty) == (1.0, -1.0)


async def test_what_is_no_text_does_not_stop() -> None:
    assert (await ask("chat_v1", CHAT | {"stop": ["a", 1, "b"]})).request.stop == ("a", "b")
    assert (await ask("chat_v1", CHAT | {"stop": 1})).request.stop == ()


async def test_what_ollama_does_not_know_is_ignored_and_reported() -> None:
    fields = {
        "n": 3,
        "tool_choice": "none",
        "logit_bias": {"1": 2},
        "max_completion_tokens": 5,
        "user": "u",
        "top_k": 1,
    }
    answered = await ask("chat_v1", CHAT | fields)
    assert len(answered.json["choices"]) == 1
    assert answered.ignored == list(fields)


@pytest.mark.parametrize(
    ("given", "output"),
    [
        ({"type": "json_object"}, AnyJson()),
        (
            {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
            JsonSchema({"type": "object"}),
        ),
        ({"type": "text"}, None),
        (None, None),
    ],
)
async def test_response_format(given: object, output: object) -> None:
    assert (await ask("chat_v1", CHAT | {"response_format": given})).request.output == output


@pytest.mark.parametrize(
    ("fields", "reasoning", "args"),
    [
        ({}, True, {}),
        ({"reasoning_effort": "none"}, False, {}),
        ({"reasoning": {"effort": "minimal"}}, True, {"reasoning_effort": "low"}),
        ({"reasoning_effort": "xhigh"}, True, {"reasoning_effort": "max"}),
    ],
)
async def test_efforts_become_levels_of_thought(fields: dict[str, object], reasoning: bool, args: object) -> None:
    answered = await ask("chat_v1", CHAT | fields)
    assert answered.request.reasoning is reasoning
    assert isinstance(answered.prompt, ChatPrompt)
    assert answered.prompt.template_args == args


async def test_each_part_of_a_message_is_a_message() -> None:
    picture = base64.b64encode(b"png").decode()
    parts: list[dict[str, Any]] = [
        {"type": "text", "text": "a"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}"}},
        {"type": "image_url", "image_url": f"data:;base64,{picture}"},
    ]
    assert (await prompt_of([{"role": "developer", "content": "S"}, {"role": "user", "content": parts}])).messages == (
        Message("system", "S"),
        Message("user", "a"),
        Message("user", images=(Image(data=b"png"),)),
        Message("user", images=(Image(data=b"png"),)),
    )


async def test_calls_and_their_answers_in_the_history() -> None:
    made = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"b": 1, "a": 2}'}}
    messages: list[dict[str, Any]] = [
        {"role": "assistant", "content": None, "reasoning": "R", "tool_calls": [made]},
        {"role": "tool", "content": "42", "tool_call_id": "c"},
    ]
    assert (await prompt_of(messages)).messages == (
        Message("assistant", reasoning="R", tool_calls=(FunctionCall("c", "f", '{"b":1,"a":2}'),)),
        Message("tool", "42", tool_call_id="c", name="f"),
    )


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "EOF"),
        ("{", "unexpected EOF"),
        ({"model": "m", "messages": []}, "[] is too short - 'messages'"),
        ({"model": "m"}, "[] is too short - 'messages'"),
        (CHAT | {"messages": [{"role": "user", "content": 2}]}, "invalid message content type: float64"),
        (CHAT | {"messages": [{"role": "user"}]}, "invalid message content type: <nil>"),
        (CHAT | {"messages": [{"role": "user", "content": [{"type": "video"}]}]}, "invalid message format"),
        (CHAT | {"messages": [{"role": "user", "content": ["x"]}]}, "invalid message format"),
        (
            CHAT | {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "http://x/y.png"}]}]},
            "image URLs are not currently supported, please use base64 encoded data instead",
        ),
        (
            CHAT | {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "data:a/b,aGk="}]}]},
            "invalid image input",
        ),
        (
            CHAT | {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "x"}}]}]},
            "invalid tool call arguments",
        ),
        (
            CHAT | {"reasoning_effort": "much"},
            'invalid reasoning value: "much" (must be "minimal", "low", "medium", "high", "xhigh", "ultra", "max",'
            ' or "none")',
        ),
        (
            CHAT | {"stream": "yes"},
            "json: cannot unmarshal string into Go struct field ChatCompletionRequest.stream of type bool",
        ),
        (
            CHAT | {"messages": [{"role": 5}]},
            "json: cannot unmarshal number into Go struct field Message.messages.role of type string",
        ),
    ],
)  # fmt: skip
async def test_what_the_layer_itself_refuses(body: object, message: str) -> None:
    assert refusal(await ask("chat_v1", body)) == (400, message)


@pytest.mark.parametrize(
    ("fields", "status", "kind", "message"),
    [
        ({"model": "nope"}, 404, "not_found_error", "model 'nope' not found"),
        ({"reasoning_effort": "low"}, 400, "invalid_request_error", '"m" does not support thinking'),
        ({"tools": TOOLS}, 400, "invalid_request_error", "registry.ollama.ai/library/m:latest does not support tools"),
        ({"top_logprobs": 21}, 400, "invalid_request_error", "top_logprobs must be between 0 and 20"),
    ],
)
async def test_what_the_native_route_refuses(fields: dict[str, object], status: int, kind: str, message: str) -> None:
    answered = await ask("chat_v1", CHAT | fields, info=PLAIN)
    assert answered.error == (status, {"message": message, "type": kind, "param": None, "code": None})
    assert answered.content_type == JSON
    assert answered.body.endswith(b"}\n")


# the stream


async def test_a_stream_begins_with_the_role_and_ends_with_the_reason() -> None:
    *events, end = (await ask("chat_v1", STREAM)).events
    assert end == "[DONE]"
    assert [event["choices"][0] for event in events] == [
        {"index": 0, "delta": {"role": "assistant", "content": "Hel"}, "finish_reason": None},
        {"index": 0, "delta": {"content": "lo"}, "finish_reason": None},
        {"index": 0, "delta": {"content": " world"}, "finish_reason": None},
        {"index": 0, "delta": {}, "finish_reason": "stop"},
    ]
    assert list(events[0]) == ["id", "object", "created", "model", "system_fingerprint", "choices"]
    assert {event["id"] for event in events} == {events[0]["id"]}
    assert re.fullmatch(r"chatcmpl-\d{1,3}", events[0]["id"])
    assert events[0]["system_fingerprint"] == "fp_ollama"
    assert (events[0]["object"], events[0]["model"]) == ("chat.completion.chunk", "m")


async def test_text_is_escaped_as_go_does() -> None:
    frames = (await ask("chat_v1", STREAM, Script(said("<a>", "<b>", "<c>")))).frames
    assert b'"content":"\\u003ca\\u003e"' in frames[0]
    assert b'"content":"\\u003cc\\u003e"' in frames[2]


async def test_a_stream_of_nothing_still_has_its_role() -> None:
    events = (await ask("chat_v1", STREAM, Script(()))).events
    assert len(events) == 3
    assert events[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert events[1]["choices"][0] == {"index": 0, "delta": {}, "finish_reason": "stop"}


async def test_usage_comes_last_and_only_when_it_is_asked_for() -> None:
    events = (await ask("chat_v1", STREAM | {"stream_options": USAGE})).events
    assert all("usage" not in event for event in events[:-2])
    assert events[-2]["choices"] == []
    assert events[-2]["usage"] == {"prompt_tokens": 25, "completion_tokens": 11, "total_tokens": 36}
    assert all("usage" not in event for event in (await ask("chat_v1", STREAM)).events[:-1])


async def test_a_call_is_one_delta_with_its_arguments_as_text() -> None:
    events = (await ask("chat_v1", STREAM | {"tools": TOOLS}, WEATHER)).events
    assert len(events) == 3
    delta = events[0]["choices"][0]["delta"]
    assert list(delta) == ["role", "content", "tool_calls"]
    (made,) = delta["tool_calls"]
    assert list(made) == ["id", "index", "type", "function"]
    assert made["function"] == {"name": "get_weather", "arguments": '{"city":"Paris"}'}
    assert events[1]["choices"][0] == {"index": 0, "delta": {}, "finish_reason": "tool_calls"}


async def test_text_before_a_call_has_the_role() -> None:
    first, second, *_ = (await ask("chat_v1", STREAM | {"tools": TOOLS}, TWO_CALLS)).events
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": "Looking."}
    assert [made["index"] for made in second["choices"][0]["delta"]["tool_calls"]] == [0, 1]


async def test_thought_is_called_reasoning() -> None:
    events = (await ask("chat_v1", STREAM, THINKING)).events
    deltas = [event["choices"][0]["delta"] for event in events[:-1]]
    assert deltas[:3] == [
        {"role": "assistant", "content": "", "reasoning": "Let me"},
        {"content": "", "reasoning": " see."},
        {"content": "For"},
    ]


async def test_logprobs_are_ollamas() -> None:
    events = (await ask("chat_v1", STREAM | {"logprobs": True}, Script(said("H", "i")))).events
    assert [event["choices"][0].get("logprobs") for event in events[:-1]] == [
        {"content": [{"token": "H", "logprob": -0.5, "bytes": [72]}]},
        {"content": [{"token": "i", "logprob": -0.5, "bytes": [105]}]},
        None,
    ]


async def test_an_error_in_the_middle_is_told() -> None:
    events = (await ask("chat_v1", STREAM, fault=Fails(BackendFailed("it broke"), after=3))).events
    assert events[-1] == {"error": {"message": "it broke", "type": "api_error", "param": None, "code": None}}


async def test_an_error_before_the_first_chunk_has_a_status() -> None:
    answered = await ask("chat_v1", STREAM, fault=Fails(Busy("full")))
    status, error = answered.error
    assert (status, error["type"]) == (503, "api_error")
    assert error["message"].startswith("server busy, please try again.")
    assert answered.content_type == JSON


# the whole answer


async def test_a_whole_answer() -> None:
    answered = await ask("chat_v1", CHAT | {"logprobs": True}, Script(said("H")))
    assert answered.content_type == JSON
    assert answered.body.endswith(b"}\n")
    assert list(answered.json) == ["id", "object", "created", "model", "system_fingerprint", "choices", "usage"]
    assert answered.json["object"] == "chat.completion"
    assert answered.json["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "H"},
            "finish_reason": "stop",
            "logprobs": {"content": [{"token": "H", "logprob": -0.5, "bytes": [72]}]},
        }
    ]
    assert answered.json["usage"] == {"prompt_tokens": 25, "completion_tokens": 1, "total_tokens": 26}


async def test_a_whole_answer_says_the_same_as_its_stream() -> None:
    for script in (HELLO, EMOJI, CUT, THINKING, TWO_CALLS):
        *events, _ = (await ask("chat_v1", STREAM | {"tools": TOOLS}, script)).events
        deltas = [event["choices"][0]["delta"] for event in events]
        (choice,) = (await ask("chat_v1", CHAT | {"tools": TOOLS}, script)).json["choices"]
        message = choice["message"]
        assert message["content"] == "".join(delta.get("content", "") for delta in deltas)
        assert message.get("reasoning", "") == "".join(delta.get("reasoning", "") for delta in deltas)
        calls = [made for delta in deltas for made in delta.get("tool_calls", ())]
        assert message.get("tool_calls", []) == calls
        assert choice["finish_reason"] == events[-1]["choices"][0]["finish_reason"]


async def test_the_name_that_was_used_comes_back() -> None:
    models = FakeModels.of(name="m")
    assert (await ask("chat_v1", CHAT | {"model": "gpt-4"}, models=models)).json["model"] == "gpt-4"


async def test_no_name_means_the_default_model() -> None:
    assert (await ask("chat_v1", CHAT | {"model": ""})).json["model"] == "m"
    assert (await ask("completions_v1", {"prompt": "hi"})).json["model"] == "m"
    assert (await ask("embeddings_v1", {"input": "hi"})).json["model"] == "m"
