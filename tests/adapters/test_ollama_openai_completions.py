"""POST /v1/completions and the listing of models on Ollama's listener, where they differ from OpenAI's."""

from __future__ import annotations

import re

import pytest

from backends.base import BackendState
from backends.errors import BackendFailed
from backends.request import ChatPrompt, InfillPrompt, Message
from tests.adapters.ollama_tools import JSON, JSON_UTF8, PLAIN, ask
from tests.fakes import CUT, THINKING, Fails, FakeModels, Script, said

PROMPT = {"model": "m", "prompt": "hi"}
STREAM = PROMPT | {"stream": True}
ZEROS = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


# the request


async def test_a_prompt_goes_through_the_chat_template() -> None:
    assert (await ask("completions_v1", PROMPT)).prompt == ChatPrompt((Message("user", "hi"),))


async def test_a_suffix_asks_for_what_stands_between() -> None:
    assert (await ask("completions_v1", PROMPT | {"suffix": "x"})).prompt == InfillPrompt("hi", "x")


async def test_the_defaults_are_the_layers_own() -> None:
    request = (await ask("completions_v1", PROMPT | {"max_tokens": None, "temperature": None})).request
    assert (request.max_tokens, request.sampling.temperature, request.sampling.top_p) == (None, 1.0, 1.0)


@pytest.mark.parametrize(("logprobs", "num_top"), [(None, None), (0, None), (3, 3)])
async def test_logprobs_are_a_number(logprobs: int | None, num_top: int | None) -> None:
    assert (await ask("completions_v1", PROMPT | {"logprobs": logprobs})).request.top_logprobs == num_top


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (PROMPT | {"stop": [1, 2]}, "invalid type for 'stop' field: float64"),
        (
            PROMPT | {"prompt": ["a"]},
            "json: cannot unmarshal array into Go struct field CompletionRequest.prompt of type string",
        ),
        ("", "EOF"),
    ],
)
async def test_what_the_layer_itself_refuses(body: object, message: str) -> None:
    answered = await ask("completions_v1", body)
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    assert (answered.error, answered.content_type) == ((400, error), JSON_UTF8)
    assert not answered.body.endswith(b"\n")


async def test_what_the_native_route_refuses() -> None:
    answered = await ask("completions_v1", PROMPT | {"suffix": "x"}, info=PLAIN)
    _, error = answered.error
    assert error["message"] == "registry.ollama.ai/library/m:latest does not support insert"
    assert (answered.content_type, answered.body[-1:]) == (JSON, b"\n")


# the answer


async def test_a_chunk_has_its_choices_before_its_model() -> None:
    *events, end = (await ask("completions_v1", STREAM, CUT)).events
    assert end == "[DONE]"
    assert list(events[0]) == ["id", "object", "created", "choices", "model", "system_fingerprint"]
    assert [event["choices"] for event in events] == [
        [{"text": "one", "index": 0, "finish_reason": None}],
        [{"text": " two", "index": 0, "finish_reason": None}],
        [{"text": "", "index": 0, "finish_reason": "length"}],
    ]
    assert re.fullmatch(r"cmpl-\d{1,3}", events[0]["id"])
    assert events[0]["object"] == "text_completion"


async def test_every_chunk_has_a_usage_of_zeros_when_it_is_asked_for() -> None:
    events = (await ask("completions_v1", STREAM | {"stream_options": {"include_usage": True}})).events
    assert [event["usage"] for event in events[:-2]] == [ZEROS] * 4
    assert events[-2]["choices"] == []
    assert events[-2]["usage"] == {"prompt_tokens": 25, "completion_tokens": 11, "total_tokens": 36}
    assert list(events[-2])[-1] == "usage"


async def test_a_whole_answer() -> None:
    answered = await ask("completions_v1", PROMPT | {"logprobs": 1}, Script(said("H")))
    assert (answered.content_type, answered.body[-2:]) == (JSON, b"}\n")
    assert list(answered.json) == ["id", "object", "created", "model", "system_fingerprint", "choices", "usage"]
    (choice,) = answered.json["choices"]
    assert list(choice) == ["text", "index", "finish_reason", "logprobs"]
    assert (choice["text"], choice["finish_reason"]) == ("H", "stop")
    assert list(choice["logprobs"]["content"][0]) == ["token", "logprob", "bytes", "top_logprobs"]


async def test_logprobs_come_with_their_text() -> None:
    events = (await ask("completions_v1", STREAM | {"logprobs": 1}, Script(said("H")))).events
    assert "logprobs" in events[0]["choices"][0]
    assert "logprobs" not in events[1]["choices"][0]


async def test_thought_has_no_place_here() -> None:
    assert (await ask("completions_v1", PROMPT, THINKING)).json["choices"][0]["text"] == "Forty-two."
    events = (await ask("completions_v1", STREAM, THINKING)).events
    assert "".join(event["choices"][0]["text"] for event in events[:-1]) == "Forty-two."


async def test_an_empty_prompt_loads_the_model() -> None:
    answered = await ask("completions_v1", {"model": "m"}, state=BackendState.STOPPED)
    assert answered.json["choices"] == [{"text": "", "index": 0, "finish_reason": "load"}]
    assert answered.json["usage"] == ZEROS
    assert answered.models.served[0].backend.state is BackendState.READY
    first, end = (await ask("completions_v1", {"model": "m", "stream": True})).events
    assert (first["choices"][0]["finish_reason"], end) == ("load", "[DONE]")


async def test_an_error_in_the_middle_is_told() -> None:
    events = (await ask("completions_v1", STREAM, fault=Fails(BackendFailed("it broke"), after=4))).events
    assert events[-1]["error"]["message"] == "it broke"


# models


async def test_models_are_listed_as_the_librarys() -> None:
    answered = await ask("models_v1")
    assert answered.content_type == JSON
    assert answered.body == (
        b'{"object":"list","data":[{"id":"m","object":"model","created":1700000000,"owned_by":"library"},'
        b'{"id":"gpt-3.5-turbo","object":"model","created":1700000000,"owned_by":"library"}]}\n'
    )


async def test_no_models_are_null() -> None:
    assert (await ask("models_v1", models=FakeModels([]))).body == b'{"object":"list","data":null}\n'


async def test_a_name_with_a_namespace_belongs_to_it() -> None:
    answered = await ask("model_v1", models=FakeModels.of(name="acme/coder"), params={"model": "acme/coder:latest"})
    assert (answered.json["id"], answered.json["owned_by"]) == ("acme/coder:latest", "acme")


async def test_a_model_that_is_not_here() -> None:
    answered = await ask("model_v1", params={"model": "nope"})
    assert answered.status == 404
    assert answered.body == (
        b'{"error":{"message":"model \'nope\' not found","type":"not_found_error","param":null,"code":null}}\n'
    )
