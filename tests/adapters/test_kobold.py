from __future__ import annotations

import asyncio
from typing import Any

import pytest

from adapters.generations import Generations
from adapters.kobold.dialect import make_dialect
from backends.errors import InvalidField
from backends.request import Dry, Gbnf, GenerateRequest, JsonSchema, Mirostat, TextPrompt, Xtc
from tests.fakes import FakeModels, Hangs, ScriptedBackend, answer, call


async def parsed(body: dict[str, Any]) -> tuple[GenerateRequest, list[str]]:
    """The request that reaches the backend, and what is reported as ignored."""
    backend = ScriptedBackend()
    asked = call("POST", "/api/v1/generate", body, models=FakeModels.of(backend))
    await answer(make_dialect(Generations()).verbs["generate"], asked)
    return backend.requests[0], asked.ignored


async def test_the_defaults_are_kobold_cpps() -> None:
    request, ignored = await parsed({"prompt": "Hi"})
    sampling = request.sampling
    assert (sampling.temperature, sampling.top_k, sampling.top_p, sampling.min_p) == (0.7, 100, 0.9, 0.0)
    assert (sampling.repetition_penalty, sampling.penalty_window, sampling.penalize_prompt) == (1.0, 320, True)
    assert sampling.order == ("top_k", "typical_p", "top_p", "min_p", "temperature", "top_n_sigma", "xtc")
    assert (request.max_tokens, request.include_stop, request.ignore_eos) == (2048, False, False)
    assert (sampling.dry, sampling.xtc, sampling.mirostat, sampling.seed, ignored) == (None, None, None, None, [])


async def test_every_sampler_arrives() -> None:
    body = {"memory": "Once. ", "prompt": "Hi", "max_length": 5, "rep_pen": 1.1, "repetition_penalty": 1.3,
            "rep_pen_range": 64, "presence_penalty": 0.2, "temperature": 0.5, "top_k": 7, "top_p": 0.8, "min_p": 0.05,
            "typical": 0.9, "nsigma": 1.5, "sampler_order": [5, 2, 6], "sampler_seed": 9, "stop_sequence": ["a", ""],
            "trim_stop": False, "mirostat": 2, "mirostat_tau": 4, "mirostat_eta": 0.2, "dynatemp_range": 0.3,
            "dry_multiplier": 0.8, "dry_sequence_breakers": '["x", "y"]', "xtc_probability": 0.5, "xtc_threshold": 0.1,
            "ban_eos_token": True, "grammar": 'root ::= "a"', "logit_bias": {"5": -2},
            "custom_token_bans": "7, 8"}  # fmt: skip
    request, ignored = await parsed(body)
    sampling = request.sampling
    assert request.prompts == (TextPrompt(("Once. Hi",)),)
    assert (request.max_tokens, request.stop, request.include_stop, request.ignore_eos) == (5, ("a",), True, True)
    assert (sampling.repetition_penalty, sampling.penalty_window, sampling.presence_penalty) == (1.3, 64, 0.2)
    assert (sampling.temperature, sampling.top_k, sampling.top_p, sampling.typical_p) == (0.5, 7, 0.8, 0.9)
    assert sampling.order == ("temperature", "top_n_sigma", "top_p", "min_p", "xtc")
    assert (sampling.top_n_sigma, sampling.seed, sampling.temperature_range) == (1.5, 9, 0.3)
    assert sampling.mirostat == Mirostat(2, 4.0, 0.2)
    assert sampling.dry == Dry(0.8, 1.75, 2, 320, ("x", "y"))
    assert sampling.xtc == Xtc(0.5, 0.1)
    assert sampling.logit_bias == {5: -2.0, 7: False, 8: False}
    assert (request.output, ignored) == (Gbnf('root ::= "a"'), [])


async def test_a_grammar_that_is_json_is_a_schema() -> None:
    request, _ = await parsed({"prompt": "Hi", "grammar": '{"type": "object"}'})
    assert request.output == JsonSchema({"type": "object"})


async def test_what_asks_for_nothing_is_not_reported() -> None:
    _, ignored = await parsed(
        {"prompt": "Hi", "tfs": 1, "top_a": 0, "quiet": True, "images": [], "max_context_length": 9}
    )
    assert ignored == []
    _, ignored = await parsed({"prompt": "Hi", "tfs": 0.9, "top_a": 0.1, "huh": 1})
    assert ignored == ["tfs", "top_a", "huh"]


async def test_banned_phrases_are_kept_out_where_one_token_says_them() -> None:
    request, ignored = await parsed({"prompt": "Hi", "banned_strings": ["a", "shivers"]})
    assert request.sampling.logit_bias == {ord("a"): False}
    assert ignored == ["banned_strings"]


async def test_a_key_that_is_no_token_id_is_refused_by_name() -> None:
    with pytest.raises(InvalidField, match=r"logit_bias\.x"):
        await parsed({"prompt": "Hi", "logit_bias": {"x": 1}})


async def test_an_answer_that_is_ended_is_what_there_is() -> None:
    generations = Generations()
    verbs = make_dialect(generations).verbs
    backend = ScriptedBackend(fault=Hangs(after=4))
    body = {"prompt": "Hi", "genkey": "mine"}
    models = FakeModels.of(backend)
    answering = asyncio.create_task(answer(verbs["generate"], call("POST", "/api/v1/generate", body, models=models)))
    generation = None
    while generation is None or generation.text != "Hello":
        await asyncio.sleep(0)
        generation = generations.find(("", "mine"))
    checked = await answer(verbs["check"], call("POST", "/api/extra/generate/check", {"genkey": "mine"}))
    assert checked.json == {"results": [{"text": "Hello"}]}
    aborted = await answer(verbs["abort"], call("POST", "/api/extra/abort", {"genkey": "mine"}))
    assert aborted.json == {"success": "true", "done": "true"}
    (result,) = (await answering).json["results"]
    assert (result["text"], result["finish_reason"], result["completion_tokens"]) == ("Hello", "length", 5)
    assert (backend.num_closed, generations.is_idle) == (1, True)


async def test_an_answer_that_has_not_begun_can_be_ended() -> None:
    generations = Generations()
    verbs = make_dialect(generations).verbs
    models = FakeModels.of(ScriptedBackend(fault=Hangs()))
    asked = call("POST", "/api/extra/generate/stream", {"prompt": "Hi"}, models=models)
    answering = asyncio.create_task(answer(verbs["stream"], asked))
    for _ in range(10):
        await asyncio.sleep(0)
    await answer(verbs["abort"], call("POST", "/api/extra/abort", b""))
    assert (await answering).frames == [b'event: message\ndata: {"token": "", "finish_reason": "length"}\n\n']


async def test_names_do_not_pile_up() -> None:
    generations = Generations()
    for number in range(257):
        generations.begin(("", str(number)), 1, None)
    assert generations.find(("", "0")) is None
    assert generations.find(("", "256")) is not None


async def test_with_keys_nobody_sees_or_ends_anothers_answer() -> None:
    generations = Generations()
    verbs = make_dialect(generations).verbs
    mine = {"Authorization": "Bearer mine"}
    await answer(verbs["generate"], call("POST", "/api/v1/generate", {"prompt": "Hi"}, headers=mine))
    for headers, text in ((mine, "Hello world"), ({"Authorization": "Bearer yours"}, "")):
        seen = await answer(verbs["check"], call("GET", "/api/extra/generate/check", headers=headers))
        assert seen.json == {"results": [{"text": text}]}
