"""POST /api/chat: what reaches the backend, and what the client gets."""

from __future__ import annotations

import base64
import re
from dataclasses import replace

import pytest

from adapters.ollama.chat import ChatExchange
from backends.base import BackendState
from backends.errors import BackendFailed, Busy, DragomanError, NotReady, PromptTooLong
from backends.events import Finished, Started, Text, Timings, ToolCallArguments, ToolCallStarted, Usage
from backends.request import ChatPrompt, FunctionCall, GenerateRequest, Image, Message, Tool
from tests.adapters.ollama_tools import CHAT, JSON, JSON_UTF8, NDJSON, PLAIN, TOOLS, USER, ask
from tests.fakes import (
    CUT,
    EMOJI,
    INFO,
    STOPPED,
    THINKING,
    TWO_CALLS,
    WEATHER,
    Fails,
    FakeModels,
    Script,
    call,
    called,
    said,
)

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z")
METRICS = [
    "total_duration",
    "load_duration",
    "prompt_eval_count",
    "prompt_eval_duration",
    "eval_count",
    "eval_duration",
]
NOW_NS = 1_700_000_001_750_000_000
"""A quarter of a second after the fake request came in."""


def exchange() -> ChatExchange:
    """At a time that stands still."""
    models = FakeModels.of(name="m")
    request = GenerateRequest(id="r", prompts=(ChatPrompt((Message("user", "hi"),)),))
    asked = call("POST", "/api/chat", models=models)
    return ChatExchange(asked, models.served[0], request, model="m", streams=True, clock=lambda: NOW_NS)


async def prompt_of(**fields: object) -> ChatPrompt:
    prompt = (await ask("chat", CHAT | fields, info=replace(INFO, capabilities=INFO.capabilities | {"vision"}))).prompt
    assert isinstance(prompt, ChatPrompt)
    return prompt


# the request


async def test_messages_reach_the_backend() -> None:
    picture = base64.b64encode(b"png").decode()
    messages = [
        {"role": "System", "content": "S"},
        {"role": "user", "content": "U", "images": [picture]},
        {
            "role": "assistant",
            "content": "",
            "thinking": "T",
            "tool_calls": [{"id": "c", "function": {"index": 0, "name": "f", "arguments": {"b": 1, "a": "é"}}}],
        },
        {"role": "tool", "content": "42", "tool_name": "f", "tool_call_id": "c"},
    ]
    assert (await prompt_of(messages=messages)).messages == (
        Message("system", "S"),
        Message("user", "U", images=(Image(data=b"png"),)),
        Message("assistant", reasoning="T", tool_calls=(FunctionCall("c", "f", '{"b":1,"a":"é"}'),)),
        Message("tool", "42", tool_call_id="c", name="f"),
    )


async def test_tools_reach_the_backend() -> None:
    assert (await prompt_of(tools=TOOLS)).tools == (Tool("f", "F", {"type": "object"}),)


async def test_an_assistants_message_at_the_end_is_continued() -> None:
    prompt = await prompt_of(messages=[*USER, {"role": "assistant", "content": "Well"}])
    assert (prompt.continue_final, prompt.add_generation_prompt) == (True, False)
    prompt = await prompt_of()
    assert (prompt.continue_final, prompt.add_generation_prompt) == (False, True)


async def test_a_role_that_no_template_knows_is_named() -> None:
    said = await ask("chat", CHAT | {"messages": [{"role": "boss", "content": "x"}]})
    assert said.error == (400, "invalid role: 'boss', must be one of [system, developer, user, assistant, tool]")


@pytest.mark.parametrize(
    ("fields", "missing"),
    [
        ({"tools": TOOLS}, "tools"),
        ({"messages": [{"role": "user", "content": "", "images": ["aGk="]}]}, "vision"),
        ({"tools": TOOLS, "messages": [{"role": "user", "images": ["aGk="]}]}, "tools\nvision"),
    ],
)
async def test_what_the_model_can_not_do_is_refused_by_name(fields: dict[str, object], missing: str) -> None:
    said = await ask("chat", CHAT | fields, info=PLAIN)
    assert said.error == (400, f"registry.ollama.ai/library/m:latest does not support {missing}")


async def test_a_model_that_only_embeds_does_not_chat() -> None:
    said = await ask("chat", {"model": "m"}, info=replace(INFO, capabilities=frozenset({"embedding"})))
    assert said.error == (400, '"m" does not support chat')


@pytest.mark.parametrize("model", ["", " ", None])
async def test_a_model_must_be_named(model: str | None) -> None:
    assert (await ask("chat", {"model": model, "messages": None, "options": None})).error == (400, "model is required")


@pytest.mark.parametrize("number", [-1, 21])
async def test_top_logprobs_have_a_range_even_when_they_are_not_asked_for(number: int) -> None:
    said = await ask("chat", {"model": "m", "top_logprobs": number})
    assert said.error == (400, "top_logprobs must be between 0 and 20")


# the stream


async def test_it_streams_unless_told_not_to() -> None:
    for stream in ({}, {"stream": None}, {"stream": True}):
        said = await ask("chat", CHAT | stream)
        assert said.content_type == NDJSON
        assert [line["message"]["content"] for line in said.lines] == ["Hel", "lo", " world", ""]
        assert [line["done"] for line in said.lines] == [False, False, False, True]


def test_a_text_line_byte_by_byte() -> None:
    sent = exchange()
    assert list(sent.frames(Started(0, 3))) == []
    assert list(sent.frames(Text(0, 'a "<b>" é', (1,)))) == [
        b'{"model":"m","created_at":"2023-11-14T22:13:21.75Z","message":{"role":"assistant",'
        b'"content":"a \\"\\u003cb\\u003e\\" \xc3\xa9"},"done":false}\n'
    ]


def test_the_last_line_byte_by_byte() -> None:
    sent = exchange()
    sent.frames(Started(0, 3))
    ended = Finished(0, "length", Usage(3, 2), Timings(load_s=0.5, queue_s=9, prefill_s=0.125, decode_s=2))
    assert list(sent.frames(ended)) == [
        b'{"model":"m","created_at":"2023-11-14T22:13:21.75Z","message":{"role":"assistant","content":""},"done":true,'
        b'"done_reason":"length","total_duration":250000000,"load_duration":750000000,"prompt_eval_count":3,'
        b'"prompt_eval_duration":125000000,"eval_count":2,"eval_duration":2000000000}\n'
    ]


def test_zeros_are_left_out() -> None:
    sent = exchange()
    sent.frames(Started(0, 0))
    (line,) = sent.frames(Finished(0, "end"))
    assert b"eval" not in line


async def test_an_emoji_is_one_line() -> None:
    lines = (await ask("chat", CHAT, EMOJI)).lines
    assert [line["message"]["content"] for line in lines] == ["a", "👋", "é", "z", ""]


@pytest.mark.parametrize(("script", "reason"), [(CUT, "length"), (STOPPED, "stop"), (EMOJI, "stop"), (WEATHER, "stop")])
async def test_done_reasons(script: Script, reason: str) -> None:
    assert (await ask("chat", CHAT, script)).lines[-1]["done_reason"] == reason


async def test_thought_has_lines_of_its_own() -> None:
    messages = [line["message"] for line in (await ask("chat", CHAT, THINKING)).lines]
    assert messages[0] == {"role": "assistant", "content": "", "thinking": "Let me"}
    assert [message.get("thinking") for message in messages] == ["Let me", " see.", None, None, None]


async def test_calls_come_whole_in_one_line() -> None:
    first, last = (await ask("chat", CHAT | {"tools": TOOLS}, TWO_CALLS)).lines
    assert first["message"] == {"role": "assistant", "content": "Looking."}
    calls = last["message"]["tool_calls"]
    assert [made["function"] for made in calls] == [
        {"index": 0, "name": "f", "arguments": {"x": 1}},
        {"index": 1, "name": "g", "arguments": {}},
    ]
    assert all(re.fullmatch(r"call_[a-z0-9]{8}", made["id"]) for made in calls)
    assert calls[0]["id"] != calls[1]["id"]
    assert last["done"]


async def test_logprobs_come_with_their_text() -> None:
    lines = (await ask("chat", CHAT | {"logprobs": True, "top_logprobs": 1}, Script(said("Hi")))).lines
    assert list(lines[0]) == ["model", "created_at", "message", "done", "logprobs"]
    assert lines[0]["logprobs"][0] == {
        "token": "H",
        "logprob": -0.5,
        "bytes": [72],
        "top_logprobs": [{"token": "H", "logprob": -0.5, "bytes": [72]}],
    }
    assert "logprobs" not in lines[1]


async def test_without_alternatives_there_is_no_list_of_them() -> None:
    lines = (await ask("chat", CHAT | {"logprobs": True}, Script(said("H")))).lines
    assert lines[0]["logprobs"] == [{"token": "H", "logprob": -0.5, "bytes": [72]}]


async def test_an_error_in_the_middle_is_one_more_line() -> None:
    lines = (await ask("chat", CHAT, fault=Fails(BackendFailed("the <model> broke"), after=3))).lines
    assert lines[0]["message"]["content"] == "Hel"
    assert lines[-1] == {"error": "the <model> broke"}
    assert not any(line.get("done") for line in lines)


async def test_a_call_whose_arguments_are_no_object_is_an_error() -> None:
    lines = (await ask("chat", CHAT, Script(called("f", "[1]"), reason="tool_calls"))).lines
    assert lines == [{"error": 'the model called "f" with arguments that are no JSON object'}]


CUT_CALL = Script((*called("f", '{"a":1}'), *called("g", '{"b": "un', call=1)), reason="length")


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("verb", ["chat", "chat_v1", "messages_v1", "responses_v1"])
async def test_a_call_that_the_length_cut_is_not_told(verb: str, streams: bool) -> None:
    body = CHAT | {"stream": streams, "tools": TOOLS if "chat" in verb else [], "input": "hi", "max_tokens": 9}
    said = await ask(verb, body, CUT_CALL)
    sent = said.body + b"".join(said.frames)
    assert said.status == 200
    assert (b'"f"' in sent, b'"g"' in sent, b"error" in sent.replace(b'"error":null', b"")) == (True, False, False)


# the whole answer


async def test_a_whole_answer_says_the_same_as_its_stream() -> None:
    for script in (EMOJI, CUT, THINKING, TWO_CALLS):
        body = CHAT | {"tools": TOOLS, "logprobs": True}
        lines = (await ask("chat", body, script)).lines
        whole = (await ask("chat", body | {"stream": False}, script)).json
        assert whole["message"]["content"] == "".join(line["message"]["content"] for line in lines)
        thought = "".join(line["message"].get("thinking", "") for line in lines)
        assert whole["message"].get("thinking", "") == thought
        assert whole["message"].get("tool_calls") == lines[-1]["message"].get("tool_calls")
        assert whole["logprobs"] == [item for line in lines for item in line.get("logprobs", ())]
        assert whole["done_reason"] == lines[-1]["done_reason"]


async def test_a_whole_answers_keys_are_in_gos_order() -> None:
    said = await ask("chat", CHAT | {"stream": False, "logprobs": True})
    assert said.content_type == JSON_UTF8
    assert not said.body.endswith(b"\n")
    assert list(said.json) == ["model", "created_at", "message", "done", "done_reason", "logprobs", *METRICS]
    assert TIME.fullmatch(said.json["created_at"])
    assert all(isinstance(said.json[name], int) for name in METRICS)


# loading


async def test_no_messages_loads_the_model() -> None:
    said = await ask("chat", {"model": "m"}, state=BackendState.STOPPED)
    assert said.content_type == JSON_UTF8
    assert list(said.json) == ["model", "created_at", "message", "done", "done_reason"]
    assert said.json["message"] == {"role": "assistant", "content": ""}
    assert (said.json["done"], said.json["done_reason"]) == (True, "load")
    assert said.models.served[0].backend.state is BackendState.READY


@pytest.mark.parametrize("zero", [0, "0", "0s", 0.0])
async def test_no_messages_and_no_keep_alive_unloads_it(zero: object) -> None:
    said = await ask("chat", {"model": "m", "messages": [], "keep_alive": zero})
    assert said.json["done_reason"] == "unload"
    assert said.models.kept_s == {"m": 0.0}


async def test_a_model_that_is_not_loaded_is_not_unloaded() -> None:
    said = await ask("chat", {"model": "m", "keep_alive": 0}, state=BackendState.STOPPED)
    assert said.json["done_reason"] == "unload"
    assert said.models.kept_s == {}
    assert said.models.served[0].backend.state is BackendState.STOPPED


async def test_what_a_model_can_do_is_known_when_it_is_loaded() -> None:
    said = await ask("chat", CHAT | {"tools": TOOLS}, state=BackendState.STOPPED)
    assert said.lines[-1]["done"]


async def test_the_prompt_can_be_shown_instead() -> None:
    said = await ask("chat", CHAT | {"_debug_render_only": True})
    assert list(said.json) == ["model", "created_at", "message", "done", "_debug_info"]
    assert said.json["_debug_info"] == {"rendered_template": "<|user|>hi\n<|assistant|>"}


# failing


class Overloaded(DragomanError):
    """As a runner of Ollama's own might fail."""

    status = 429


@pytest.mark.parametrize(
    ("error", "status", "message", "content_type"),
    [
        (Overloaded("rate limit exceeded"), 429, "rate limit exceeded", JSON),
        (BackendFailed("it broke"), 500, "it broke", JSON),
        (PromptTooLong(5000, 4096), 400, "the prompt has 5000 tokens, but the model's window is 4096 tokens", JSON),
        (NotReady("loading"), 503, "loading", JSON_UTF8),
        (
            Busy("the queue is full"),
            503,
            "server busy, please try again.  maximum pending requests exceeded",
            JSON_UTF8,
        ),
    ],
)
async def test_an_error_before_the_first_line_has_a_status(
    error: DragomanError, status: int, message: str, content_type: str
) -> None:
    said = await ask("chat", CHAT, fault=Fails(error))
    assert said.error == (status, message)
    assert said.content_type == content_type
    assert not said.body.endswith(b"\n")


async def test_when_nothing_is_streamed_every_error_names_its_charset() -> None:
    said = await ask("chat", CHAT | {"stream": False}, fault=Fails(Overloaded("model is overloaded"), after=4))
    assert said.error == (429, "model is overloaded")
    assert said.content_type == JSON_UTF8


def test_a_call_in_pieces_is_told_at_the_end() -> None:
    sent = exchange()
    sent.frames(Started(0, 1))
    assert list(sent.frames(ToolCallStarted(0, 0, "call_abcd1234", "f"))) == []
    assert list(sent.frames(ToolCallArguments(0, 0, '{"a":'))) == []
    assert list(sent.frames(ToolCallArguments(0, 0, "1}"))) == []
    (line,) = sent.frames(Finished(0, "tool_calls"))
    assert b'"tool_calls":[{"id":"call_abcd1234","function":{"index":0,"name":"f","arguments":{"a":1}}}]' in line


async def test_every_line_has_its_time() -> None:
    assert all(TIME.fullmatch(line["created_at"]) for line in (await ask("chat", CHAT)).lines)
