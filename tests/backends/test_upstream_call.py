"""What is left of an answer whose worker died: what was sent, and how the next one goes on."""

from __future__ import annotations

from typing import Any

import pytest

from backends.accent import VLLM
from backends.engine import demo
from backends.events import Event, Finished, Reasoning, Started, Text, Usage
from backends.facts import Facts
from backends.model_folder import ModelFolder
from backends.request import ChatPrompt, GenerateRequest, JsonSchema, Message, Sampling, TextPrompt, Tool
from backends.upstream_call import Call, calls_of

FACTS = Facts(VLLM, "m", window=100)


@pytest.fixture(scope="module")
def folder() -> ModelFolder:
    return ModelFolder(demo.FOLDER)


def call(**fields: Any) -> Call:
    fields.setdefault("prompts", (TextPrompt(("def f",)),))
    request = GenerateRequest(id="r", **fields)
    return calls_of(request, [(prompt, frozenset()) for prompt in request.prompts])[0]


def send(one: Call, *events: Event) -> list[Event]:
    return list(one.sent(events))


def test_choices_are_asked_for_one_by_one_each_with_a_seed_of_its_own() -> None:
    request = GenerateRequest(id="r", prompts=(TextPrompt(("a",)), TextPrompt(("b",))), n=2, sampling=Sampling(seed=5))
    calls = calls_of(request, [(prompt, frozenset()) for prompt in request.prompts])
    assert [(each.index, each.seed) for each in calls] == [(0, 5), (1, 6), (2, 5), (3, 6)]


def test_the_beginning_is_told_once() -> None:
    one = call()
    begun = Started(0, 2, "def f", (1, 2))
    assert send(one, begun) == [begun]
    assert send(one, begun, Text(0, "(", (3,))) == [Text(0, "(", (3,))]
    assert one.has_answered


def test_it_goes_on_with_the_prompt_s_tokens_and_those_that_were_sent(folder: ModelFolder) -> None:
    one = call(max_tokens=20, min_tokens=15)
    ids = folder.tokenizer.encode("(a, b):", add_special=False)
    send(one, Started(0, 2, "def f", (1, 2)), Text(0, "(a, b):", tuple(ids)))
    assert one.can_resume()
    one.resume(folder)
    body = one.wire(FACTS, folder).body
    assert body["prompt"] == [1, 2, *ids]
    assert body["max_tokens"] == 20 - len(ids)
    assert body["min_tokens"] == 15 - len(ids)
    (end,) = send(one, Finished(0, "length", Usage(prompt_tokens=9, completion_tokens=3)))
    assert isinstance(end, Finished)
    assert (end.usage.prompt_tokens, end.usage.completion_tokens) == (2, 3 + len(ids))


def test_tokens_that_ran_ahead_of_their_text_are_made_anew(folder: ModelFolder) -> None:
    ids = folder.tokenizer.encode("for item in range", add_special=False)
    for cut in range(1, len("for item in range")):
        text = "for item in range"[:cut]
        assert folder.text_of(folder.tokens_of(text, ids)) == text


def test_a_second_death_goes_on_from_the_same_prompt(folder: ModelFolder) -> None:
    one = call()
    first, second = (tuple(folder.tokenizer.encode(text, add_special=False)) for text in ("(a", ", b"))
    send(one, Started(0, 2, "def f", (1, 2)), Text(0, "(a", first))
    one.resume(folder)
    send(one, Started(0, 4, "", (1, 2, *first)), Text(0, ", b", second))
    one.resume(folder)
    assert one.wire(FACTS, folder).body["prompt"] == [1, 2, *first, *second]


@pytest.mark.parametrize(
    "fields",
    [
        {"output": JsonSchema({"type": "object"})},
        {"echo": True},
        {"max_tokens": 1},
        {"prompts": (ChatPrompt((Message("user", "x"),), tools=(Tool("f"),)),)},
    ],
)
def test_what_has_lost_its_place_is_not_gone_on_with(fields: dict[str, Any]) -> None:
    one = call(**fields)
    send(one, Started(0, 2, "", (1, 2)), Text(0, "a", (3,)))
    assert not one.can_resume()


def test_thought_is_not_gone_on_with() -> None:
    one = call()
    send(one, Started(0, 2, "", (1, 2)), Reasoning(0, "hm"))
    assert one.has_answered
    assert not one.can_resume()
