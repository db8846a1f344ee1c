"""`options`, `format` and `think`: defaults, types, and what reaches the backend."""

from __future__ import annotations

from typing import Any

import pytest

from backends.request import TEMPERATURE_FIRST, AnyJson, ChatPrompt, JsonSchema, Sampling
from tests.adapters.ollama_tools import CHAT, JSON_UTF8, PLAIN, ask

DEFAULTS = Sampling(
    order=TEMPERATURE_FIRST,
    penalize_prompt=True,
    temperature=0.8,
    top_k=40,
    top_p=0.9,
    min_p=0.0,
    typical_p=1.0,
    repetition_penalty=1.0,
    presence_penalty=0.0,
    frequency_penalty=0.0,
    penalty_window=64,
)


async def sampling_of(**options: Any) -> Sampling:
    return (await ask("chat", CHAT | {"options": options})).request.sampling


async def test_the_defaults_are_ollamas() -> None:
    request = (await ask("chat", CHAT)).request
    assert request.sampling == DEFAULTS
    assert (request.max_tokens, request.stop, request.output, request.top_logprobs) == (None, (), None, None)


async def test_null_is_the_default() -> None:
    assert await sampling_of(temperature=None, top_k=None, seed=None) == DEFAULTS


async def test_options_reach_the_backend() -> None:
    options = {
        "temperature": 0, "top_k": 5.9, "top_p": 0.5, "min_p": 0.1, "typical_p": 0.7, "repeat_penalty": 1.3,
        "repeat_last_n": -1, "presence_penalty": 0.2, "frequency_penalty": -0.3, "seed": 1e3,
    }  # fmt: skip
    assert await sampling_of(**options) == Sampling(
        order=TEMPERATURE_FIRST,
        penalize_prompt=True,
        temperature=0.0,
        top_k=5,
        top_p=0.5,
        min_p=0.1,
        typical_p=0.7,
        repetition_penalty=1.3,
        presence_penalty=0.2,
        frequency_penalty=-0.3,
        penalty_window=-1,
        seed=1000,
    )


async def test_negative_values_mean_as_you_like() -> None:
    sampling = await sampling_of(top_k=-1, top_p=-1, min_p=-1, seed=-1, temperature=-1)
    assert (sampling.top_k, sampling.top_p, sampling.min_p, sampling.seed) == (0, 0.9, 0.0, None)
    assert sampling.temperature == 0.0


async def test_without_a_window_there_are_no_penalties() -> None:
    sampling = await sampling_of(repeat_last_n=0, repeat_penalty=1.5, presence_penalty=1)
    assert (sampling.repetition_penalty, sampling.presence_penalty) == (None, None)


@pytest.mark.parametrize(("num_predict", "max_tokens"), [(5, 5), (5.0, 5), (-1, None), (-2, None), (0, None)])
async def test_length(num_predict: float, max_tokens: int | None) -> None:
    said = await ask("chat", CHAT | {"options": {"num_predict": num_predict}})
    assert said.request.max_tokens == max_tokens


async def test_stops_are_a_list_and_empty_ones_stop_nothing() -> None:
    assert (await ask("chat", CHAT | {"options": {"stop": ["a", "", "b"]}})).request.stop == ("a", "b")


async def test_a_tiny_context_cuts_nothing_off() -> None:
    said = await ask("chat", CHAT | {"options": {"num_ctx": 1, "num_keep": 1}})
    assert said.request.prompts == (await ask("chat", CHAT)).request.prompts
    assert said.ignored == ["options.num_ctx", "options.num_keep"]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"top_k": "5"}, 'option "top_k" must be of type integer'),
        ({"num_ctx": "5"}, 'option "num_ctx" must be of type integer'),
        ({"seed": True}, 'option "seed" must be of type integer'),
        ({"temperature": "hot"}, 'option "temperature" must be of type float32'),
        ({"use_mmap": 1}, 'option "use_mmap" must be of type boolean'),
        ({"stop": "x"}, 'option "stop" must be of type array'),
        ({"stop": ["x", 1]}, 'option "stop" must be of an array of strings'),
    ],
)
async def test_an_option_of_a_wrong_type_is_a_500(options: dict[str, Any], complaint: str) -> None:
    said = await ask("chat", CHAT | {"options": options})
    assert said.error == (500, complaint)
    assert said.content_type == JSON_UTF8


@pytest.mark.parametrize(
    ("given", "output"),
    [("json", AnyJson()), ("", None), (None, None), ({"type": "object"}, JsonSchema({"type": "object"}))],
)
async def test_format(given: object, output: object) -> None:
    assert (await ask("chat", CHAT | {"format": given})).request.output == output


async def test_a_format_that_is_none() -> None:
    status, complaint = (await ask("chat", CHAT | {"format": "yaml"})).error
    assert status == 500
    assert complaint == r'invalid format: "\"yaml\""; expected "json" or a valid JSON Schema object'


@pytest.mark.parametrize(
    ("think", "reasoning", "args"),
    [(None, True, {}), (True, True, {}), (False, False, {}), ("low", True, {"reasoning_effort": "low"})],
)
async def test_a_model_that_thinks_does_unless_told_not_to(
    think: object, reasoning: bool, args: dict[str, str]
) -> None:
    said = await ask("chat", CHAT | {"think": think})
    assert said.request.reasoning is reasoning
    assert isinstance(said.prompt, ChatPrompt)
    assert said.prompt.template_args == args


async def test_a_model_that_does_not_think_is_not_told_about_it() -> None:
    assert (await ask("chat", CHAT, info=PLAIN)).request.reasoning is None
    assert (await ask("chat", CHAT | {"think": False}, info=PLAIN)).request.reasoning is None


@pytest.mark.parametrize("think", [True, "high"])
@pytest.mark.parametrize("verb", ["chat", "generate"])
async def test_a_model_that_can_not_think_refuses_to(verb: str, think: object) -> None:
    said = await ask(verb, CHAT | {"prompt": "x", "think": think}, info=PLAIN)
    assert said.error == (400, '"m" does not support thinking')
