from __future__ import annotations

import asyncio
from typing import Any

import pytest

from adapters.generations import Generations
from adapters.textgen.dialect import make_dialect
from backends.errors import InvalidField
from backends.request import (
    TEMPERATURE_FIRST,
    TEMPERATURE_LAST,
    ChatPrompt,
    Gbnf,
    GenerateRequest,
    Mirostat,
    TextPrompt,
)
from tests.fakes import FakeModels, Hangs, ScriptedBackend, answer, call


async def parsed(verb: str, body: dict[str, Any]) -> tuple[GenerateRequest, list[str]]:
    """The request that reaches the backend, and what is reported as ignored."""
    backend = ScriptedBackend()
    asked = call("POST", f"/api/v1/{verb}", body, models=FakeModels.of(backend))
    await answer(make_dialect(Generations()).verbs[verb], asked)
    return backend.requests[0], asked.ignored


async def test_the_defaults_are_the_old_apis() -> None:
    request, ignored = await parsed("generate", {"prompt": "Hi"})
    sampling = request.sampling
    assert request.prompts == (TextPrompt(("Hi",)),)
    assert (request.max_tokens, sampling.temperature, sampling.top_p, sampling.top_k) == (200, 0.5, 1.0, 0)
    assert (sampling.repetition_penalty, sampling.penalty_window, sampling.order) == (1.1, -1, TEMPERATURE_FIRST)
    assert ignored == []


async def test_every_setting_arrives_and_the_rest_is_reported() -> None:
    body = {"prompt": "Hi", "max_new_tokens": 5, "min_length": 2, "temperature": 0.7, "temperature_last": True,
            "top_p": 0.8, "top_k": 9, "typical_p": 0.9, "repetition_penalty": 1.2, "repetition_penalty_range": 64,
            "mirostat_mode": 1, "grammar_string": 'root ::= "a"', "seed": 4, "custom_token_bans": "7,8",
            "ban_eos_token": True, "stopping_strings": ["a"], "add_bos_token": False, "num_beams": 4,
            "tfs": 1}  # fmt: skip
    request, ignored = await parsed("generate", body)
    sampling = request.sampling
    assert request.prompts == (TextPrompt(("Hi",), add_special=False),)
    assert (request.max_tokens, request.min_tokens, request.stop, request.ignore_eos) == (5, 2, ("a",), True)
    assert (sampling.temperature, sampling.top_p, sampling.top_k, sampling.typical_p) == (0.7, 0.8, 9, 0.9)
    assert (sampling.repetition_penalty, sampling.penalty_window, sampling.seed) == (1.2, 64, 4)
    assert (sampling.mirostat, sampling.order) == (Mirostat(1, 5.0, 0.1), TEMPERATURE_LAST)
    assert (sampling.logit_bias, request.output) == ({7: False, 8: False}, Gbnf('root ::= "a"'))
    assert ignored == ["num_beams"]


async def test_a_client_that_does_not_sample_is_answered_greedily() -> None:
    request, _ = await parsed("generate", {"prompt": "Hi", "do_sample": False, "temperature": 0.7})
    assert request.sampling.temperature == 0


async def test_a_history_becomes_messages() -> None:
    history = {"internal": [["<|BEGIN-VISIBLE-CHAT|>", "Hey!"], ["a", "b"]], "visible": []}
    request, _ = await parsed("chat", {"user_input": "c", "history": history, "context": "Be kind."})
    (prompt,) = request.prompts
    assert isinstance(prompt, ChatPrompt)
    assert [(message.role, message.content) for message in prompt.messages] == [
        ("system", "Be kind."), ("assistant", "Hey!"), ("user", "a"), ("assistant", "b"), ("user", "c"),
    ]  # fmt: skip


async def test_an_answer_goes_on_where_it_broke_off() -> None:
    history = {"internal": [["a", "b"]], "visible": [["a", "b"]]}
    request, _ = await parsed("chat", {"user_input": "", "_continue": True, "history": history})
    (prompt,) = request.prompts
    assert isinstance(prompt, ChatPrompt)
    assert (prompt.messages[-1].content, prompt.continue_final) == ("b", True)
    with pytest.raises(InvalidField, match=r"history\.internal"):
        await parsed("chat", {"user_input": "", "regenerate": True})


async def test_logits_are_of_the_next_token_only() -> None:
    request, ignored = await parsed("logits", {"prompt": "Hi", "top_logits": 7, "use_samplers": True})
    assert (request.max_tokens, request.top_logprobs, request.ignore_eos) == (1, 7, True)
    assert ignored == ["use_samplers"]


async def test_stop_ends_every_answer_with_what_there_is() -> None:
    verbs = make_dialect(Generations()).verbs
    models = FakeModels.of(ScriptedBackend(fault=Hangs(after=4)))
    asked = call("POST", "/api/v1/generate", {"prompt": "Hi"}, models=models)
    answering = asyncio.create_task(answer(verbs["generate"], asked))
    for _ in range(50):
        await asyncio.sleep(0)
    stopped = await answer(verbs["stop_stream"], call("POST", "/api/v1/stop-stream", {}))
    assert stopped.json == {"results": "success"}
    assert (await answering).json == {"results": [{"text": "Hello"}]}
