"""The whole engine with the embedded model: nothing here is a stand-in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from backends.engine.backend import EngineBackend, EngineOptions
from backends.engine.demo import FOLDER
from backends.events import CompletedChoice, fold
from backends.request import (
    ChatPrompt,
    EmbedRequest,
    GenerateRequest,
    InfillPrompt,
    JsonSchema,
    Message,
    Regex,
    Sampling,
    TextPrompt,
    Tool,
)

GREEDY = Sampling(temperature=0.0)
SOURCES = [f"def function_{i}(first, second):\n    " + "value = first + second\n    " * (i % 7) for i in range(32)]
WEATHER = Tool(
    "get_weather",
    "The weather in a city.",
    {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 12}},
        "required": ["city"],
        "additionalProperties": False,
    },
)


@pytest.fixture
async def backend() -> AsyncIterator[EngineBackend]:
    backend = EngineBackend(EngineOptions(FOLDER))
    await backend.start()
    yield backend
    await backend.stop()


async def answer(backend: EngineBackend, **options: Any) -> CompletedChoice:
    request = GenerateRequest(**{"id": "r", "sampling": GREEDY, "max_tokens": 40, **options})
    (choice,) = (await fold(backend.generate(request), 1)).ordered
    return choice


def text(source: str) -> dict[str, Any]:
    return {"prompts": (TextPrompt((source,)),)}


async def test_32_at_once_each_get_what_they_would_get_alone(backend: EngineBackend) -> None:
    alone = [await answer(backend, **text(source), cache_prompt=False) for source in SOURCES]
    together = await asyncio.gather(*(answer(backend, **text(source), cache_prompt=False) for source in SOURCES))
    assert [choice.text for choice in alone] == [choice.text for choice in together]
    assert len({choice.text for choice in together}) > 1


async def test_seeded_answers_are_the_same_among_31_others(backend: EngineBackend) -> None:
    seeds = [Sampling(temperature=1.0, top_p=0.95, seed=i) for i in range(32)]
    alone = await answer(backend, **text(SOURCES[5]), sampling=seeds[5])
    together = await asyncio.gather(
        *(answer(backend, **text(source), sampling=seed) for source, seed in zip(SOURCES, seeds, strict=True))
    )
    assert together[5].text == alone.text


async def test_preempted_answers_equal_undisturbed_ones(backend: EngineBackend) -> None:
    cramped = EngineBackend(EngineOptions(FOLDER, num_blocks=24, max_batch_size=8))
    await cramped.start()
    undisturbed = await asyncio.gather(*(answer(backend, **text(source), max_tokens=120) for source in SOURCES[:8]))
    preempted = await asyncio.gather(*(answer(cramped, **text(source), max_tokens=120) for source in SOURCES[:8]))
    await cramped.stop()
    assert [choice.text for choice in undisturbed] == [choice.text for choice in preempted]


async def test_the_next_turn_of_a_chat_reads_only_what_is_new(backend: EngineBackend) -> None:
    asked = Message("user", "Tell me what you are, please.")
    first = await answer(backend, prompts=(ChatPrompt((asked,)),), max_tokens=None)
    history = (asked, Message("assistant", first.text), Message("user", "And what are you not?"))
    second = await answer(backend, prompts=(ChatPrompt(history),))
    known = first.end.usage.total_tokens
    assert first.end.reason == "end"
    assert known - 16 <= second.end.usage.cached_tokens < second.end.usage.prompt_tokens


async def test_an_infill_ends_by_itself_or_by_length(backend: EngineBackend) -> None:
    prompt = InfillPrompt("def add(a, b):\n    return ", "\n\n\nprint(add(1, 2))\n")
    choice = await answer(backend, prompts=(prompt,))
    assert "<fim_" in choice.started.prompt_text
    assert "<fim_" not in choice.text


@pytest.mark.parametrize("seed", range(5))
async def test_structured_output_always_parses(backend: EngineBackend, seed: int) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 10}, "age": {"type": "integer", "maximum": 200}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }
    sampling = Sampling(temperature=2.0, seed=seed)
    prompts = (ChatPrompt((Message("user", "Who?"),)),)
    choice = await answer(backend, prompts=prompts, output=JsonSchema(schema), sampling=sampling, max_tokens=300)
    assert choice.end.reason == "end"
    assert json.loads(choice.text).keys() == {"name", "age"}
    date = await answer(backend, **text("Today is "), output=Regex(r"\d{4}-\d\d-\d\d"), sampling=sampling)
    assert [len(part) for part in date.text.split("-")] == [4, 2, 2]


async def test_a_required_tool_is_called(backend: EngineBackend) -> None:
    prompt = ChatPrompt((Message("user", "Is it warm in Oslo?"),), tools=(WEATHER,), tool_choice="required")
    choice = await answer(backend, prompts=(prompt,), sampling=Sampling(temperature=1.0, seed=3), max_tokens=200)
    (call,) = choice.tool_calls
    assert (choice.end.reason, call.name) == ("tool_calls", "get_weather")
    assert json.loads(call.arguments).keys() == {"city"}


async def test_a_long_prompt_is_embedded_as_wide_as_the_model(backend: EngineBackend) -> None:
    embeddings = await backend.embed(EmbedRequest(id="r", inputs=("short", "long " * 500)))
    assert [len(vector) for vector in embeddings.vectors] == [192, 192]
    assert embeddings.num_tokens[1] > 256


async def test_the_model_says_what_it_is(backend: EngineBackend) -> None:
    info = backend.info
    assert info.num_parameters > 1_000_000
    assert info.capabilities >= {"completion", "insert", "tools", "embedding"}
    assert (info.window, info.eos_token, info.pooling) == (32768, "<|im_end|>", "mean")
    assert info.generation_defaults["temperature"] > 0
