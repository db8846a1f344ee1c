"""/v1/completions as llama-cpp-python answers it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from backends.errors import BackendFailed
from backends.request import TEMPERATURE_LAST, Gbnf, InfillPrompt, Mirostat, Sampling, TextPrompt
from tests.adapters.llamacpp_python_tools import ask, frames, parsed, recorded, recorded_events, replied, stream
from tests.conformance.shape import differences, nothing_extra
from tests.fakes import CUT, EMOJI, HELLO, STOPPED, Fails, Script

BODY = {"prompt": "Once"}


async def test_the_defaults_are_the_servers_own() -> None:
    request = await parsed("completions", BODY)
    assert request.max_tokens == 16
    assert request.sampling == Sampling(
        temperature=0.8, top_k=40, top_p=0.95, min_p=0.05, typical_p=1.0, repetition_penalty=1.1,
        presence_penalty=0.0, frequency_penalty=0.0, penalty_window=64, order=TEMPERATURE_LAST,
    )  # fmt: skip
    assert request.prompts == (TextPrompt(("Once",)),)


async def test_fields_reach_the_backend() -> None:
    request = await parsed(
        "completions",
        {"prompt": ["Once"], "max_tokens": "7", "min_tokens": 2, "temperature": 0.5, "top_k": 3, "top_p": 0.5,
         "min_p": 0.1, "repeat_penalty": 1.2, "presence_penalty": 0.3, "frequency_penalty": 0.4, "seed": -1,
         "stop": "X", "logprobs": 2, "grammar": 'root ::= "a"', "logit_bias": {"300": 100}, "n": 2},
    )  # fmt: skip
    sampling = request.sampling
    assert (request.max_tokens, request.min_tokens, request.stop, request.n) == (7, 2, ("X",), 1)
    assert (sampling.temperature, sampling.top_k, sampling.top_p, sampling.min_p) == (0.5, 3, 0.5, 0.1)
    assert (sampling.repetition_penalty, sampling.presence_penalty, sampling.frequency_penalty) == (1.2, 0.3, 0.4)
    assert (sampling.seed, sampling.logit_bias) == (2**64 - 1, {300: 100.0})
    assert (request.top_logprobs, request.output) == (2, Gbnf('root ::= "a"'))


@pytest.mark.parametrize("length", [0, None])
async def test_no_length_is_as_much_as_the_window_holds(length: int | None) -> None:
    assert (await parsed("completions", BODY | {"max_tokens": length})).max_tokens is None


async def test_biases_by_text() -> None:
    body = BODY | {"logit_bias": {"300": 1, "a": -1}, "logit_bias_type": "tokens"}
    assert (await parsed("completions", body)).sampling.logit_bias == {"300": 1.0, "a": -1.0}


@pytest.mark.parametrize(
    ("fields", "mirostat"),
    [({"mirostat_mode": 1}, Mirostat(1)), ({"mirostat_mode": 2, "mirostat_tau": 3}, Mirostat(2, 3.0)),
     ({"mirostat_mode": 1, "temperature": 0}, None), ({}, None)],
)  # fmt: skip
async def test_mirostat(fields: dict[str, Any], mirostat: Mirostat | None) -> None:
    assert (await parsed("completions", BODY | fields)).sampling.mirostat == mirostat


async def test_a_temperature_below_zero_leaves_the_distribution_as_it_is() -> None:
    sampling = (await parsed("completions", BODY | {"temperature": -1})).sampling
    assert (sampling.temperature, sampling.top_k, sampling.top_p, sampling.min_p) == (1.0, 0, 1.0, 0.0)


async def test_a_suffix_is_infilled() -> None:
    assert (await parsed("completions", BODY | {"suffix": "end"})).prompts == (InfillPrompt("Once", "end"),)


async def test_one_prompt_at_most() -> None:
    assert (await parsed("completions", {"prompt": []})).prompts == (TextPrompt(("",)),)
    refused = await replied("completions", {"prompt": ["a", "b"]})
    assert (refused.status, orjson.loads(refused.body)["error"]["message"]) == (500, "")


async def test_a_whole_answer_is_like_the_recorded_one() -> None:
    ours = await ask("completions", BODY | {"model": "tiny"}, CUT)
    assert differences(orjson.loads(recorded("oc_basic").body), ours, nothing_extra) == []
    assert ours["id"] == "cmpl-00000000-0000-0000-0000-000000000000"
    assert ours["choices"][0] == {"text": "one two", "index": 0, "logprobs": None, "finish_reason": "length"}


async def test_an_echo_is_for_whole_answers_only() -> None:
    assert (await parsed("completions", BODY | {"echo": True, "logprobs": 1})).prompt_logprobs == 1
    request = await parsed("completions", BODY | {"echo": True, "logprobs": 1, "stream": True})
    assert (request.echo, request.prompt_logprobs) == (False, None)


async def test_log_probabilities_are_four_lists() -> None:
    logprobs = (await ask("completions", BODY | {"logprobs": 2}, STOPPED))["choices"][0]["logprobs"]
    assert list(logprobs) == ["text_offset", "token_logprobs", "tokens", "top_logprobs"]
    assert logprobs["text_offset"][:2] == [len("Once"), len("Once") + 1]


async def test_a_stream_is_like_the_recorded_one() -> None:
    *ours, last, done = await stream("completions", BODY, CUT)
    first, *_, their_last, their_done = recorded_events("oc_stream_usage")
    for chunk in ours:
        assert differences(first, chunk, nothing_extra) == []
    assert differences(their_last, last, nothing_extra) == []
    assert (last["choices"][0]["text"], last["choices"][0]["finish_reason"]) == ("", "length")
    assert done == their_done == "[DONE]"


async def test_a_stream_is_written_by_python() -> None:
    sent = b"".join(await frames("completions", BODY, EMOJI))
    assert b'"text": "\\ud83d\\udc4b"' in sent


async def test_streamed_log_probabilities() -> None:
    chunk, *_ = await stream("completions", BODY | {"logprobs": 1}, HELLO)
    logprobs = chunk["choices"][0]["logprobs"]
    assert list(logprobs) == ["tokens", "text_offset", "token_logprobs", "top_logprobs"]
    assert logprobs["tokens"] == ["H", "e", "l"]


async def test_failures_in_the_middle_are_told() -> None:
    events = await stream("completions", BODY, HELLO, fault=Fails(BackendFailed("it broke"), after=3))
    assert events[-1]["error"]["message"] == "it broke"


async def test_silence() -> None:
    (last, done) = await stream("completions", BODY, Script(()))
    assert (last["choices"][0]["finish_reason"], done) == ("stop", "[DONE]")
