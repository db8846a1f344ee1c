"""/v1/responses: items in, items out, the stream's order, and what is remembered."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from adapters.base import Dialect
from adapters.openai.dialect import make_dialect
from adapters.openai.response_input import InputItem
from adapters.openai.response_store import ResponseStore, StoredResponse, UnknownPreviousResponse
from backends.errors import BackendFailed, InvalidRequest, MissingField, NotFound
from backends.request import AnyJson, ChatPrompt, FunctionCall, Image, JsonSchema, Message, NamedTool, Tool
from tests.adapters.openai_tools import backend_of, read_event
from tests.fakes import CUT, HELLO, THINKING, TWO_CALLS, Fails, FakeModels, Script, ScriptedBackend, answer, call

TOOL = {"type": "function", "name": "f", "parameters": {"type": "object"}}
SCHEMA = {"type": "object"}


@pytest.fixture
def dialect() -> Dialect:
    return make_dialect(ResponseStore())


async def create(dialect: Dialect, body: object, script: Script = HELLO, *, request_id: str = "1") -> Any:
    asked = call("POST", "/v1/responses", body, models=FakeModels.of(ScriptedBackend(script)))
    return (await answer(dialect.verbs["responses"], replace(asked, id=request_id))).json


async def events(dialect: Dialect, body: dict[str, Any], script: Script = HELLO, **options: Any) -> list[Any]:
    models = FakeModels.of(ScriptedBackend(script, **options))
    asked = call("POST", "/v1/responses", body | {"stream": True}, models=models)
    return [read_event(frame) for frame in (await answer(dialect.verbs["responses"], asked)).frames]


async def prompt_of(dialect: Dialect, body: object) -> ChatPrompt:
    models = FakeModels.of()
    await answer(dialect.verbs["responses"], call("POST", "/v1/responses", body, models=models))
    (prompt,) = backend_of(models).requests[-1].prompts
    assert isinstance(prompt, ChatPrompt)
    return prompt


async def look_up(dialect: Dialect, verb: str, response_id: str, **query: str) -> Any:
    return (await answer(dialect.verbs[verb], call("GET", "/", params={"id": response_id}, query=query))).json


# the request


async def test_text_is_a_users_message(dialect: Dialect) -> None:
    prompt = await prompt_of(dialect, {"input": "hi", "instructions": "Be brief."})
    assert prompt.messages == (Message("system", "Be brief."), Message("user", "hi"))


async def test_empty_text_is_a_message_too(dialect: Dialect) -> None:
    """Codex CLI warms LM Studio up with it."""
    assert (await prompt_of(dialect, {"input": "", "max_output_tokens": 1})).messages == (Message("user", ""),)


async def test_one_turn_of_the_assistant_is_one_message(dialect: Dialect) -> None:
    items = [
        {"role": "developer", "content": "D"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a"}]},
        {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "calling"}]},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "function_call", "call_id": "c2", "name": "g", "arguments": '{"x":1}'},
        {"type": "function_call_output", "call_id": "c1", "output": "1"},
        {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "2"}]},
        {"role": "assistant", "content": "done"},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "again"}]},
        {"role": "user", "content": "b"},
    ]
    assert (await prompt_of(dialect, {"input": items})).messages == (
        Message("system", "D"),
        Message("user", "a"),
        Message(
            "assistant",
            "calling",
            reasoning="hm",
            tool_calls=(FunctionCall("c1", "f", "{}"), FunctionCall("c2", "g", '{"x":1}')),
        ),
        Message("tool", "1", tool_call_id="c1"),
        Message("tool", "2", tool_call_id="c2"),
        Message("assistant", "done"),
        Message("assistant", "", reasoning="again"),
        Message("user", "b"),
    )


async def test_images(dialect: Dialect) -> None:
    part = {"type": "input_image", "image_url": "data:image/png;base64,AAEC"}
    prompt = await prompt_of(dialect, {"input": [{"role": "user", "content": [part]}]})
    assert prompt.messages[0].images == (Image("image/png", b"\0\1\2"),)


async def test_fields_reach_the_backend(dialect: Dialect) -> None:
    models = FakeModels.of()
    body = {
        "input": "hi",
        "max_output_tokens": 20,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_logprobs": 2,
        "reasoning": {"effort": "none"},
        "text": {"format": {"type": "json_schema", "name": "r", "schema": SCHEMA}},
        "tools": [TOOL],
        "tool_choice": {"type": "function", "name": "f"},
        "parallel_tool_calls": False,
    }
    await answer(dialect.verbs["responses"], call("POST", "/v1/responses", body, models=models))
    (request,) = backend_of(models).requests
    (prompt,) = request.prompts
    assert isinstance(prompt, ChatPrompt)
    assert (request.max_tokens, request.top_logprobs, request.reasoning) == (20, 2, False)
    assert (request.sampling.temperature, request.sampling.top_p) == (0.5, 0.9)
    assert request.output == JsonSchema(SCHEMA)
    assert (prompt.tools, prompt.tool_choice) == ((Tool("f", "", {"type": "object"}),), NamedTool("f"))
    assert prompt.parallel_tool_calls is False


async def test_json_object_format(dialect: Dialect) -> None:
    models = FakeModels.of()
    body = {"input": "hi", "text": {"format": {"type": "json_object"}}}
    await answer(dialect.verbs["responses"], call("POST", "/v1/responses", body, models=models))
    assert backend_of(models).requests[0].output == AnyJson()


async def test_allowed_tools_narrow_the_choice(dialect: Dialect) -> None:
    choice = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "g"}]}
    prompt = await prompt_of(dialect, {"input": "hi", "tools": [TOOL, TOOL | {"name": "g"}], "tool_choice": choice})
    assert ([tool.name for tool in prompt.tools], prompt.tool_choice) == (["g"], "required")


async def test_hosted_tools_are_left_out_and_reported(dialect: Dialect) -> None:
    asked = call("POST", "/v1/responses", {"input": "hi", "tools": [TOOL, {"type": "web_search"}], "user": "u"})
    await dialect.verbs["responses"](asked)
    assert asked.ignored == ["tools.1"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": 5}, "input"),
        ({"input": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "input.0.content.0.type"),
        ({"input": [{"type": "computer_call"}]}, "input.0.type"),
        ({"input": [{"type": "item_reference", "id": "msg_x"}]}, "input.0.id"),
        ({"input": [{"type": "function_call", "call_id": "c"}]}, "input.0.name"),
        ({"input": "hi", "conversation": "conv_1"}, "conversation"),
        ({"input": "hi", "prompt": {"id": "p"}}, "prompt"),
        ({"input": "hi", "tool_choice": "required"}, "tool_choice"),
        ({"input": "hi", "tools": [{"type": "web_search"}], "tool_choice": {"type": "web_search"}}, "tool_choice"),
        ({"input": "hi", "text": {"format": {"type": "json_schema"}}}, "text.format.json_schema"),
        ({"input": "hi", "previous_response_id": "resp_x"}, "previous_response_id"),
    ],
)
async def test_a_refusal_names_the_field(dialect: Dialect, fields: dict[str, object], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await create(dialect, fields)
    assert caught.value.param == param


async def test_input_may_only_be_missing_when_there_is_a_previous_response(dialect: Dialect) -> None:
    with pytest.raises(MissingField):
        await create(dialect, {"model": "m"})
    first = await create(dialect, {"input": "hi"})
    await create(dialect, {"previous_response_id": first["id"]}, request_id="2")


# the answer


async def test_output_items(dialect: Dialect) -> None:
    body = await create(dialect, {"input": "hi", "model": "m"}, TWO_CALLS)
    assert [item["type"] for item in body["output"]] == ["message", "function_call", "function_call"]
    assert body["output"][1] == {
        "id": "fc_1_1",
        "type": "function_call",
        "status": "completed",
        "call_id": "call_0",
        "name": "f",
        "arguments": '{"x":1}',
    }
    assert (body["status"], body["model"], body["error"]) == ("completed", "m", None)
    assert body["usage"]["total_tokens"] == body["usage"]["input_tokens"] + body["usage"]["output_tokens"]


async def test_a_cut_answer_is_incomplete(dialect: Dialect) -> None:
    body = await create(dialect, {"input": "hi"}, CUT)
    assert (body["status"], body["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert body["output"][-1]["status"] == "incomplete"
    assert (await events(dialect, {"input": "hi"}, CUT))[-1]["type"] == "response.incomplete"


async def test_an_answer_without_a_word_is_an_empty_message(dialect: Dialect) -> None:
    (item,) = (await create(dialect, {"input": "hi"}, Script(())))["output"]
    assert item["content"][0]["text"] == ""
    streamed = (await events(dialect, {"input": "hi"}, Script(())))[-1]["response"]["output"]
    assert [part["content"] for part in streamed] == [item["content"]]


async def test_order_of_a_streams_events(dialect: Dialect) -> None:
    stream = await events(dialect, {"input": "hi"}, THINKING)
    assert [event["type"].removeprefix("response.") for event in stream] == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "reasoning_text.delta",
        "reasoning_text.delta",
        "reasoning_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert [event["sequence_number"] for event in stream] == list(range(len(stream)))
    assert {event["output_index"] for event in stream[2:9]} == {0}
    assert {event["output_index"] for event in stream[9:16]} == {1}


async def test_order_of_a_calls_events(dialect: Dialect) -> None:
    stream = await events(dialect, {"input": "hi", "tools": [TOOL]}, TWO_CALLS)
    calls = [event for event in stream if event.get("output_index") in {1, 2}]
    assert [event["type"].removeprefix("response.") for event in calls] == [
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
    ] * 2
    assert calls[2]["arguments"] == calls[3]["item"]["arguments"] == '{"x":1}'


async def test_a_stream_ends_with_what_the_whole_answer_is(dialect: Dialect) -> None:
    for script in (HELLO, THINKING, TWO_CALLS, CUT):
        for fields in ({}, {"top_logprobs": 1}, {"reasoning": {"summary": "auto"}}):
            whole = await create(dialect, {"input": "hi"} | fields, script, request_id="0" * 32)
            assert (await events(dialect, {"input": "hi"} | fields, script))[-1]["response"] == whole


async def test_a_summary_for_clients_that_look_nowhere_else(dialect: Dialect) -> None:
    stream = await events(dialect, {"input": "hi", "reasoning": {"summary": "auto"}}, THINKING)
    kinds = [event["type"].removeprefix("response.") for event in stream[2:9]]
    assert kinds == [
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
    ]
    assert stream[8]["item"]["summary"] == [{"type": "summary_text", "text": "Let me see."}]


async def test_sealed_thought_comes_back_as_thought(dialect: Dialect) -> None:
    body = {"input": "hi", "store": False, "include": ["reasoning.encrypted_content"]}
    thought, message = (await create(dialect, body, THINKING))["output"]
    stripped = {key: thought[key] for key in ("type", "id", "encrypted_content")} | {"summary": []}
    prompt = await prompt_of(dialect, {"input": [{"role": "user", "content": "hi"}, stripped, message]})
    assert prompt.messages[1] == Message("assistant", "Forty-two.", reasoning="Let me see.")


async def test_what_another_server_sealed_is_passed_over(dialect: Dialect) -> None:
    item = {"type": "reasoning", "summary": [], "encrypted_content": "gAAAA=="}
    assert (await prompt_of(dialect, {"input": [item, {"role": "user", "content": "x"}]})).messages[-1].content == "x"


async def test_a_stream_that_breaks_ends_with_failed(dialect: Dialect) -> None:
    stream = await events(dialect, {"input": "hi"}, fault=Fails(BackendFailed("broke"), after=3))
    assert stream[-1]["type"] == "response.failed"
    assert stream[-1]["response"]["error"] == {"code": "server_error", "message": "broke"}


# what is remembered


async def test_a_conversation_goes_on(dialect: Dialect) -> None:
    first = await create(dialect, {"input": "one", "instructions": "I"}, THINKING, request_id="1")
    second = await create(dialect, {"input": "two", "previous_response_id": first["id"]}, TWO_CALLS, request_id="2")
    assert second["previous_response_id"] == first["id"]
    outputs = [{"type": "function_call_output", "call_id": f"call_{n}", "output": "ok"} for n in (0, 1)]
    prompt = await prompt_of(dialect, {"input": outputs, "previous_response_id": second["id"], "instructions": "J"})
    assert prompt.messages == (
        Message("system", "J"),
        Message("user", "one"),
        Message("assistant", "Forty-two.", reasoning="Let me see."),
        Message("user", "two"),
        Message(
            "assistant",
            "Looking.",
            tool_calls=(FunctionCall("call_0", "f", '{"x":1}'), FunctionCall("call_1", "g", "{}")),
        ),
        Message("tool", "ok", tool_call_id="call_0"),
        Message("tool", "ok", tool_call_id="call_1"),
    )


async def test_a_streamed_response_is_remembered_too(dialect: Dialect) -> None:
    done = (await events(dialect, {"input": "hi"}))[-1]["response"]
    assert await look_up(dialect, "response", done["id"]) == done


async def test_an_item_can_be_referred_to(dialect: Dialect) -> None:
    (item,) = (await create(dialect, {"input": "hi"}))["output"]
    prompt = await prompt_of(dialect, {"input": [{"type": "item_reference", "id": item["id"]}]})
    assert prompt.messages == (Message("assistant", "Hello world"),)


async def test_store_false_leaves_nothing_behind(dialect: Dialect) -> None:
    body = await create(dialect, {"input": "hi", "store": False})
    with pytest.raises(NotFound):
        await look_up(dialect, "response", body["id"])
    with pytest.raises(UnknownPreviousResponse):
        await create(dialect, {"input": "x", "previous_response_id": body["id"]})


async def test_deletion(dialect: Dialect) -> None:
    body = await create(dialect, {"input": "hi"})
    assert (await look_up(dialect, "response_delete", body["id"]))["deleted"] is True
    with pytest.raises(NotFound):
        await look_up(dialect, "response", body["id"])


async def test_only_a_background_response_can_be_cancelled(dialect: Dialect) -> None:
    plain = await create(dialect, {"input": "hi"}, request_id="1")
    with pytest.raises(InvalidRequest, match="synchronous"):
        await look_up(dialect, "response_cancel", plain["id"])
    background = await create(dialect, {"input": "hi", "background": True}, request_id="2")
    assert (await look_up(dialect, "response_cancel", background["id"])) == background


async def test_input_items_are_paged(dialect: Dialect) -> None:
    items = [{"role": "user", "content": str(number), "id": f"i{number}"} for number in range(3)]
    body = await create(dialect, {"input": items})
    newest = await look_up(dialect, "response_input_items", body["id"], limit="2")
    assert ([item["id"] for item in newest["data"]], newest["has_more"]) == (["i2", "i1"], True)
    rest = await look_up(dialect, "response_input_items", body["id"], limit="2", after=newest["last_id"])
    assert ([item["id"] for item in rest["data"]], rest["has_more"]) == (["i0"], False)
    oldest = await look_up(dialect, "response_input_items", body["id"], order="asc")
    assert oldest["data"][0] == {
        "id": "i0",
        "type": "message",
        "role": "user",
        "content": [{"type": "input_text", "text": "0"}],
        "status": "completed",
    }
    with pytest.raises(InvalidRequest, match="limit"):
        await look_up(dialect, "response_input_items", body["id"], limit="0")


async def test_input_tokens_are_counted(dialect: Dialect) -> None:
    counted = await answer(dialect.verbs["response_input_tokens"], call("POST", "/", {"input": "hi"}))
    assert counted.json == {"object": "response.input_tokens", "input_tokens": len("<|user|>hi\n<|assistant|>")}


def stored(number: int, size: int = 10) -> StoredResponse:
    answered = {"id": f"resp_{number}", "output": [{"type": "message", "id": f"msg_{number}"}]}
    return StoredResponse(answered, (), (InputItem(id=f"msg_{number}"),), size)


@pytest.mark.parametrize("store", [ResponseStore(max_responses=2), ResponseStore(max_bytes=25)])
def test_the_least_recently_used_makes_room(store: ResponseStore) -> None:
    store.put(stored(1))
    store.put(stored(2))
    store.get("resp_1")
    store.put(stored(3))
    assert (store.get("resp_1"), store.get("resp_3")) == (stored(1), stored(3))
    with pytest.raises(NotFound):
        store.get("resp_2")
    assert store.item("msg_2") is None
    assert store.item("msg_3") is not None


def test_a_response_larger_than_the_store_is_not_kept() -> None:
    store = ResponseStore(max_bytes=5)
    store.put(stored(1))
    with pytest.raises(NotFound):
        store.get("resp_1")
