"""The fakes keep the promises of what they stand for, or every test that leans on them proves nothing."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from adapters.base import Models
from backends.base import Backend, BackendState
from backends.errors import BackendFailed, NotReady, UnknownModel
from backends.events import Finished, Started, Text, fold
from backends.request import GenerateRequest, TextPrompt
from tests.fakes import EMOJI, TWO_CALLS, ByteTokenizer, Fails, FakeModels, Hangs, ScriptedBackend, call


def request(*texts: str, n: int = 1, top_logprobs: int | None = None) -> GenerateRequest:
    prompts = tuple(TextPrompt((text,)) for text in texts)
    return GenerateRequest(id="r", prompts=prompts, n=n, top_logprobs=top_logprobs)


async def test_every_choice_starts_and_finishes_once() -> None:
    backend: Backend = ScriptedBackend(TWO_CALLS)
    completion = await fold(backend.generate(request("hi", "there", n=2)), 2)
    assert [choice.index for choice in completion.ordered] == [0, 1, 2, 3]
    assert [call.arguments for call in completion.ordered[3].tool_calls] == ['{"x":1}', "{}"]
    assert completion.usage.prompt_tokens == 3 + 6  # each prompt once, with <s>


async def test_the_text_stands_for_its_tokens() -> None:
    completion = await fold(ScriptedBackend(EMOJI).generate(request("x", top_logprobs=2)), 1)
    choice = completion.ordered[0]
    assert ByteTokenizer().decode(choice.token_ids) == choice.text == "a👋éz"
    assert b"".join(token.bytes for token in choice.logprobs) == choice.text.encode()
    assert {len(token.top) for token in choice.logprobs} == {2}


async def test_a_fault_comes_when_it_is_told_to() -> None:
    events = ScriptedBackend(fault=Fails(BackendFailed("broke"), after=3)).generate(request("x"))
    seen = [(await anext(events))[0] for _ in range(3)]
    assert [type(event).__name__ for event in seen] == ["Started", "Prefilled", "Text"]
    with pytest.raises(BackendFailed):
        await anext(events)
    with pytest.raises(BackendFailed):
        await fold(ScriptedBackend(fault=Fails(BackendFailed("broke"), after=99)).generate(request("x")), 1)


async def test_leaving_a_hanging_stream_is_noticed() -> None:
    backend = ScriptedBackend(fault=Hangs(after=1))
    async with contextlib.aclosing(backend.generate(request("x"))) as events:
        assert isinstance((await anext(events))[0], Started)
        waiting = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert backend.num_closed == 1


async def test_a_stream_read_to_its_end_was_not_left() -> None:
    backend = ScriptedBackend()
    events = [event async for batch in backend.generate(request("x")) for event in batch]
    assert isinstance(events[-1], Finished)
    assert isinstance(events[-2], Text)
    assert backend.num_closed == 0


async def test_nothing_works_before_it_is_ready() -> None:
    backend = ScriptedBackend(state=BackendState.STARTING)
    with pytest.raises(NotReady):
        await fold(backend.generate(request("x")), 1)
    with pytest.raises(NotReady):
        await backend.tokenize("x", add_special=False)


def test_names_resolve_as_the_gateway_does() -> None:
    models: Models = FakeModels.of(refuses=True)
    assert models.resolve(None) is models.resolve("demo:latest") is models.resolve("gpt-3.5-turbo")
    assert models.find("nobody") is None
    with pytest.raises(UnknownModel):
        models.resolve("nobody")
    assert FakeModels.of().resolve("nobody").name == "demo"


def test_a_call_has_what_was_sent() -> None:
    asked = call("POST", "/x", {"a": 1}, headers={"X-Api-Key": "k"})
    assert (asked.json(), asked.headers["x-api-key"]) == ({"a": 1}, "k")
    assert call("POST", "/x", "{bad").body == b"{bad"
