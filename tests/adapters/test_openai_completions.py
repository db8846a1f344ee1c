"""POST /v1/completions and the engine routes: what reaches the backend, and what the client gets."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from adapters.openai.completions import CompletionBody, CompletionExchange, completions
from backends.errors import InvalidField, InvalidRequest
from backends.events import Completion, Event, Finished, Started, Text, TokenLogprob
from backends.request import ChatPrompt, InfillPrompt, Message, Prompt, TextPrompt
from tests.adapters.openai_tools import USER, ask, backend_of, parsed, read_frame, stream
from tests.fakes import EMOJI, STOPPED, FakeModels, answer, call, logprob, said

# the request


@pytest.mark.parametrize(
    ("prompt", "prompts"),
    [
        ("a", (TextPrompt(("a",)),)),
        (["a", "b"], (TextPrompt(("a",)), TextPrompt(("b",)))),
        ([1, 2], (TextPrompt(((1, 2),)),)),
        ([[1], [2, 3]], (TextPrompt(((1,),)), TextPrompt(((2, 3),)))),
        ("", (TextPrompt(("",)),)),
        ([], (TextPrompt(("",)),)),
        (None, (TextPrompt(("",)),)),
    ],
)
async def test_every_form_of_prompt(prompt: object, prompts: tuple[Prompt, ...]) -> None:
    assert (await parsed("completions", {"prompt": prompt})).prompts == prompts


async def test_sixteen_tokens_unless_told_otherwise() -> None:
    assert (await parsed("completions", {"prompt": "a"})).max_tokens == 16
    assert (await parsed("completions", {"prompt": "a", "max_tokens": None})).max_tokens == 16
    assert (await parsed("completions", {"prompt": "a", "max_tokens": 0})).max_tokens == 0
    assert (await parsed("completions", {"prompt": "a", "max_tokens": -1})).max_tokens is None


async def test_a_suffix_asks_for_the_middle() -> None:
    assert (await parsed("completions", {"prompt": "a", "suffix": "b"})).prompts == (InfillPrompt("a", "b"),)
    assert (await parsed("completions", {"prompt": "a", "suffix": ""})).prompts == (TextPrompt(("a",)),)
    with pytest.raises(InvalidField, match="text"):
        await parsed("completions", {"prompt": [1], "suffix": "b"})


async def test_messages_on_the_wrong_route_are_a_chat() -> None:
    """Twinny's Ooba provider and Continue's GGML class send them."""
    (prompt,) = (await parsed("completions", {"messages": USER})).prompts
    assert prompt == ChatPrompt((Message("user", "hi"),))
    body = await ask("completions", {"messages": USER})
    assert (body["object"], body["choices"][0]["text"]) == ("text_completion", "Hello world")


async def test_a_chat_on_the_wrong_route_may_fill_the_window() -> None:
    assert (await parsed("completions", {"messages": USER})).max_tokens is None


async def test_lm_studios_clients_say_n_predict() -> None:
    assert (await parsed("completions", {"prompt": "a", "n_predict": 512})).max_tokens == 512
    assert (await parsed("completions", {"prompt": "a", "n_predict": -1})).max_tokens is None
    assert (await parsed("completions", {"prompt": "a", "n_predict": 512, "max_tokens": 8})).max_tokens == 8


async def test_logprobs_false_are_none() -> None:
    assert (await parsed("completions", {"prompt": "a", "logprobs": False})).top_logprobs is None


async def test_a_prompt_wins_over_messages() -> None:
    assert (await parsed("completions", {"prompt": "a", "messages": USER})).prompts == (TextPrompt(("a",)),)


async def test_the_path_names_the_model() -> None:
    models = FakeModels.of(name="codegen")
    asked = call("POST", "/v1/engines/codegen/completions", {"prompt": "a"}, models=models, params={"model": "codegen"})
    assert (await answer(completions, asked)).json["model"] == "codegen"


async def test_best_of() -> None:
    request = await parsed("completions", {"prompt": "a", "n": 2, "best_of": 3})
    assert (request.n, request.best_of) == (2, 3)
    assert (await parsed("completions", {"prompt": "a", "best_of": 1})).best_of is None
    for fields in ({"n": 2, "best_of": 1}, {"best_of": 2, "stream": True}):
        with pytest.raises(InvalidField) as caught:
            await parsed("completions", {"prompt": "a"} | fields)
        assert caught.value.param == "best_of"


async def test_echo_with_logprobs_wants_the_prompts_too() -> None:
    request = await parsed("completions", {"prompt": "a", "echo": True, "logprobs": 2})
    assert (request.echo, request.top_logprobs, request.prompt_logprobs) == (True, 2, 2)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": {"a": 1}}, "prompt"),
        ({"prompt": [1, "a"]}, "prompt.0"),
        ({"prompt": [["a"]]}, "prompt.0"),
        ({"logprobs": 21}, "logprobs"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"prompt_embeds": "abc"}, "prompt_embeds"),
        ({"prompt_logprobs": 1, "stream": True}, "prompt_logprobs"),
        ({"truncate_prompt_tokens": 5}, "truncate_prompt_tokens"),
    ],
)
async def test_a_refusal_names_the_field(fields: dict[str, object], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await parsed("completions", {"prompt": "a"} | fields)
    assert caught.value.param is not None
    assert caught.value.param.startswith(param)


# the answer


async def test_choices_come_in_the_order_of_prompts() -> None:
    body = await ask("completions", {"prompt": ["a", "b"], "n": 2})
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2, 3]
    assert body["usage"]["prompt_tokens"] == 4  # <s> and a letter, twice
    assert body["id"].startswith("cmpl-")


async def test_stream() -> None:
    *chunks, last, done = await stream("completions", {"prompt": "a"}, STOPPED)
    assert [chunk["choices"][0]["text"] for chunk in chunks] == ["one", " two"]
    assert all(chunk["object"] == "text_completion" for chunk in (*chunks, last))
    assert last["choices"][0] == {
        "index": 0,
        "text": "",
        "logprobs": None,
        "finish_reason": "stop",
        "stop_reason": " three",
    }
    assert done == "[DONE]"


async def test_usage_chunk() -> None:
    *chunks, usage, _ = await stream("completions", {"prompt": "a", "stream_options": {"include_usage": True}})
    assert (usage["choices"], usage["usage"]["total_tokens"]) == ([], 13)
    assert all(chunk["usage"] is None for chunk in chunks)


async def test_logprobs_are_parallel_lists() -> None:
    (choice,) = (await ask("completions", {"prompt": "ab", "logprobs": 2}))["choices"]
    logprobs = choice["logprobs"]
    assert "".join(logprobs["tokens"]) == "Hello world"
    assert logprobs["token_logprobs"] == [-0.5] * 11
    assert logprobs["top_logprobs"][0] == {"H": -0.5, "I": -1.5}
    assert logprobs["text_offset"] == list(range(2, 13))  # behind the prompt


async def test_offsets_count_characters_where_a_character_is_several_tokens() -> None:
    (choice,) = (await ask("completions", {"prompt": "", "logprobs": 0}, EMOJI))["choices"]
    assert choice["text"] == "a👋éz"
    assert choice["logprobs"]["text_offset"] == [0, 1, 1, 1, 1, 2, 2, 3]


async def test_streamed_logprobs_are_those_of_the_whole_answer() -> None:
    body = {"prompt": "ab", "logprobs": 1}
    whole = (await ask("completions", body, EMOJI))["choices"][0]["logprobs"]
    parts = [event["choices"][0]["logprobs"] for event in (await stream("completions", body, EMOJI))[:-2]]
    assert {key: list(itertools.chain.from_iterable(part[key] for part in parts)) for key in whole} == whole


async def test_token_ids_on_request() -> None:
    body = {"prompt": "ab", "return_token_ids": True}
    (choice,) = (await ask("completions", body))["choices"]
    assert (bytes(choice["token_ids"]), choice["prompt_token_ids"]) == (b"Hello world", [256, 97, 98])
    first, second, *_ = await stream("completions", body)
    assert first["choices"][0]["prompt_token_ids"] == [256, 97, 98]
    assert "prompt_token_ids" not in second["choices"][0]


def _prompt_logprobs() -> tuple[TokenLogprob | None, ...]:
    return (None, logprob(97), logprob(98))


def _echoed(index: int = 0) -> list[Event]:
    """What a backend says to `echo` of `ab` with logprobs, where the model got a BOS in front."""
    (answered,) = said("cd")
    return [
        Started(index, 3, "<s>ab", (256, 97, 98), _prompt_logprobs()),
        Text(index, "<s>ab"),
        replace(answered, index=index, logprobs=(logprob(99), logprob(100))),
        Finished(index, "length"),
    ]


def _folded(events: list[Event]) -> Completion:
    completion = Completion(1)
    for event in events:
        completion.add(event)
    return completion


async def _exchange(fields: dict[str, Any]) -> CompletionExchange:
    asked = call("POST", "/v1/completions", {"prompt": "ab"} | fields)
    return await completions(asked)


async def test_echo_brings_the_prompts_logprobs_first() -> None:
    exchange = await _exchange({"echo": True, "logprobs": 0})
    (choice,) = exchange.body(_folded(_echoed()))["choices"]
    assert choice["text"] == "abcd"
    assert choice["logprobs"] == {
        "text_offset": [0, 0, 1, 2, 3],
        "token_logprobs": [None, -0.5, -0.5, -0.5, -0.5],
        "tokens": ["", "a", "b", "c", "d"],
        "top_logprobs": [None, {"a": -0.5}, {"b": -0.5}, {"c": -0.5}, {"d": -0.5}],
    }
    frames = [read_frame(frame) for event in _echoed() for frame in exchange.frames(event)]
    first, second = (frame["choices"][0]["logprobs"] for frame in frames[:2])
    assert {key: first[key] + second[key] for key in first} == choice["logprobs"]


async def test_echo_is_what_the_client_wrote() -> None:
    for fields in ({"echo": True}, {"echo": True, "return_token_ids": True}):
        exchange = await _exchange(fields)
        frames = [read_frame(frame) for event in _echoed() for frame in exchange.frames(event)]
        assert [frame["choices"][0]["text"] for frame in frames] == ["ab", "cd", ""]
        assert exchange.body(_folded(_echoed()))["choices"][0]["text"] == "abcd"


async def test_echo_of_an_infill_is_its_prefix() -> None:
    exchange = await _exchange({"echo": True, "suffix": "z"})
    sent = "<PRE>ab<SUF>z<MID>"
    events: list[Event] = [Started(0, 3, sent), Text(0, sent), Text(0, "cd"), Finished(0, "end")]
    assert exchange.body(_folded(events))["choices"][0]["text"] == "abcd"
    frames = [read_frame(frame) for event in events for frame in exchange.frames(event)]
    assert [frame["choices"][0]["text"] for frame in frames] == ["ab", "cd", ""]


async def test_vllm_prompt_logprobs() -> None:
    exchange = await _exchange({"prompt_logprobs": 0})
    (choice,) = exchange.body(_folded(_echoed()))["choices"]
    assert choice["prompt_logprobs"] == [
        None,
        {"97": {"logprob": -0.5, "rank": None, "decoded_token": "a"}},
        {"98": {"logprob": -0.5, "rank": None, "decoded_token": "b"}},
    ]


async def test_a_first_token_without_logprob_keeps_its_text() -> None:
    """A prompt that has no BOS: its first token's text is what the others leave."""
    exchange = await _exchange({"echo": True, "logprobs": 0})
    shape = exchange.logprobs((None, logprob(98)), 0, "ab")
    assert (shape["tokens"], shape["text_offset"]) == (["a", "b"], [0, 1])


async def test_edits() -> None:
    body = await ask(
        "edits", {"model": "m", "input": "helo", "instruction": "Fix it", "temperature": 0, "stream": True}
    )
    assert body["object"] == "edit"
    assert body["choices"] == [{"text": "Hello world", "index": 0}]
    (prompt,) = (await parsed("edits", {"input": "helo", "instruction": "Fix it"})).prompts
    assert isinstance(prompt, ChatPrompt)
    assert prompt.messages[-1] == Message("user", "Fix it\n\nhelo")


async def test_the_choices_of_one_prompt_share_its_offset() -> None:
    models = FakeModels.of()
    asked = call("POST", "/v1/completions", {"prompt": ["a", "bcd"], "n": 2, "logprobs": 0}, models=models)
    body = (await answer(completions, asked)).json
    assert [choice["logprobs"]["text_offset"][0] for choice in body["choices"]] == [1, 1, 3, 3]
    assert backend_of(models).requests[0].n == 2


def test_a_body_without_a_prompt_is_an_empty_prompt() -> None:
    assert CompletionBody().prompts() == (TextPrompt(("",)),)
