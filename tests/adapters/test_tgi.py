from __future__ import annotations

from typing import Any

import orjson
import pytest

from adapters.tgi.dialect import DIALECT
from backends.request import TEMPERATURE_FIRST, GenerateRequest, JsonSchema, Regex, TextPrompt
from tests.fakes import CUT, EMOJI, HELLO, TOKENIZER, FakeModels, Script, ScriptedBackend, answer, call, said


async def parsed(parameters: dict[str, Any] | None = None, inputs: str = "Hi") -> GenerateRequest:
    """The request that reaches the backend."""
    backend = ScriptedBackend()
    body = {"inputs": inputs} | ({} if parameters is None else {"parameters": parameters})
    await answer(DIALECT.verbs["generate"], call("POST", "/generate", body, models=FakeModels.of(backend)))
    return backend.requests[0]


async def events(script: Script, **parameters: Any) -> list[Any]:
    body = {"inputs": "Hi", "parameters": parameters}
    asked = call("POST", "/generate_stream", body, models=FakeModels.of(ScriptedBackend(script)))
    frames = (await answer(DIALECT.verbs["generate_stream"], asked)).frames
    assert all(frame.startswith(b"data:{") and frame.endswith(b"}\n\n") for frame in frames)
    return [orjson.loads(frame[5:-2]) for frame in frames]


@pytest.mark.parametrize(
    ("parameters", "temperature"),
    [(None, 1.0), ({}, 0.0), ({"temperature": 1.0}, 0.0), ({"temperature": 0.5}, 0.5), ({"top_k": 3}, 1.0),
     ({"do_sample": True}, 1.0)],
)  # fmt: skip
async def test_it_samples_only_when_something_says_so(parameters: dict[str, Any] | None, temperature: float) -> None:
    assert (await parsed(parameters)).sampling.temperature == temperature


async def test_every_parameter_arrives() -> None:
    asked = {"temperature": 0.7, "repetition_penalty": 1.2, "frequency_penalty": 0.3, "top_k": 9, "top_p": 0.8,
             "typical_p": 0.9, "max_new_tokens": 5, "stop": ["a", "b"], "seed": 42, "top_n_tokens": 3, "details": True,
             "grammar": {"type": "regex", "value": "[0-9]+"}}  # fmt: skip
    request = await parsed(asked)
    sampling = request.sampling
    assert (sampling.temperature, sampling.repetition_penalty, sampling.frequency_penalty) == (0.7, 1.2, 0.3)
    assert (sampling.top_k, sampling.top_p, sampling.typical_p, sampling.min_p) == (9, 0.8, 0.9, 0.0)
    assert (sampling.seed, sampling.order) == (42, TEMPERATURE_FIRST)
    assert (request.max_tokens, request.stop, request.include_stop) == (5, ("a", "b"), True)
    assert (request.top_logprobs, request.output) == (3, Regex("[0-9]+"))


async def test_a_schema_may_be_an_object_its_text_or_wrapped() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    for grammar in (
        {"type": "json", "value": schema},
        {"type": "json_object", "value": orjson.dumps(schema).decode()},
        {"type": "json_schema", "value": {"name": "n", "schema": schema}},
    ):
        assert (await parsed({"grammar": grammar})).output == JsonSchema(schema)


async def test_truncation_keeps_the_end_of_the_prompt() -> None:
    (prompt,) = (await parsed({"truncate": 3}, "abcdef")).prompts
    assert prompt == TextPrompt((tuple(TOKENIZER.encode("def")),), add_special=False)


async def test_the_tokens_of_one_character_have_no_text_but_the_last() -> None:
    texts = [event["token"]["text"] for event in await events(EMOJI)]
    assert texts[:7] == ["a", "", "", "", "👋", "", "é"]


async def test_the_token_that_ends_an_answer_carries_the_whole_text() -> None:
    got = await events(CUT, max_new_tokens=7, details=True)
    assert [event["generated_text"] for event in got] == [None] * 6 + ["one two"]
    assert got[-1]["details"]["finish_reason"] == "length"
    got = await events(Script(said("a", "STOP"), "stop_string", "STOP"), stop=["STOP"], details=True)
    assert got[-1]["token"]["text"] == "STOP"
    assert (got[-1]["generated_text"], got[-1]["details"]["finish_reason"]) == ("aSTOP", "stop_sequence")


async def test_what_only_looked_like_the_end_is_sent_in_its_place() -> None:
    got = await events(Script(said("a", "b", "c")), stop=["b"])
    assert [event["token"]["text"] for event in got[:-1]] == ["a", "b", "c"]
    assert [event["index"] for event in got] == [1, 2, 3, 4]


async def test_an_answer_that_the_model_ends_has_its_end_of_text_last() -> None:
    (*_, last) = await events(HELLO)
    assert last["token"]["special"]
    assert last["generated_text"] == "Hello world"


async def test_a_field_that_nobody_honours_is_reported() -> None:
    asked = call("POST", "/generate", {"inputs": "Hi", "parameters": {"watermark": True}, "huh": 1})
    await answer(DIALECT.verbs["generate"], asked)
    assert asked.ignored == ["huh", "parameters.watermark"]
