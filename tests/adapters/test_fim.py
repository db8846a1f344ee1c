"""What Codestral's, Copilot's, FauxPilot's and the Tenstorrent lesson's bodies become."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.registry import DIALECTS
from backends.request import ChatPrompt, GenerateRequest, InfillPrompt, Message, TextPrompt
from tests.fakes import FakeModels, ScriptedBackend, answer, call


async def parsed(verb: str, body: dict[str, Any]) -> tuple[GenerateRequest, list[str]]:
    """The request that reaches the backend, and what is reported as ignored."""
    backend = ScriptedBackend()
    dialect, _, name = verb.partition(".")
    asked = call("POST", "/", body, models=FakeModels.of(backend))
    await answer(DIALECTS[dialect].verbs[name], asked)
    return backend.requests[0], asked.ignored


async def test_codestral_fills_in() -> None:
    body = {"model": "codestral-latest", "prompt": "a", "suffix": "b", "temperature": 0.2, "top_p": 0.9,
            "max_tokens": 7, "min_tokens": 2, "random_seed": 5, "stop": "\n\n"}  # fmt: skip
    request, ignored = await parsed("mistral.fim", body)
    assert request.prompts == (InfillPrompt("a", "b"),)
    assert (request.max_tokens, request.min_tokens, request.stop) == (7, 2, ("\n\n",))
    assert (request.sampling.temperature, request.sampling.top_p, request.sampling.seed) == (0.2, 0.9, 5)
    assert ignored == []


async def test_codestral_goes_on_where_there_is_no_suffix() -> None:
    request, _ = await parsed("mistral.fim", {"model": "m", "prompt": "a"})
    assert (request.prompts, request.max_tokens) == ((TextPrompt(("a",)),), None)


async def test_copilot_says_more_than_anybody_honours() -> None:
    body = {"prompt": "a", "suffix": "b", "max_tokens": 500, "stop": ["\n"], "nwo": "x/y", "extra": {"language": "c"}}
    request, ignored = await parsed("copilot.completions", body)
    assert (request.prompts, request.max_tokens) == ((InfillPrompt("a", "b"),), 500)
    assert sorted(ignored) == ["extra", "nwo"]


@pytest.mark.parametrize(("asked", "penalty"), [({}, 1.0), ({"frequency_penalty": 1.3}, 1.3)])
async def test_fauxpilots_frequency_penalty_is_one_for_repetition(asked: dict[str, Any], penalty: float) -> None:
    request, _ = await parsed("fauxpilot.completions", {"prompt": "a", **asked})
    sampling = request.sampling
    assert (sampling.temperature, sampling.top_p, request.max_tokens) == (0.6, 1.0, 16)
    assert (sampling.repetition_penalty, sampling.frequency_penalty) == (penalty, 0.0)


async def test_the_lesson_asks_a_chat_model() -> None:
    request, _ = await parsed("tenstorrent.chat", {"prompt": "Why?", "temperature": 0.7})
    assert request.prompts == (ChatPrompt((Message("user", "Why?"),)),)
    assert (request.max_tokens, request.sampling.temperature, request.sampling.top_p) == (128, 0.7, 0.9)
