"""POST /v1/completions as llama.cpp answers it: OpenAI's text completion with its own accent."""

from __future__ import annotations

import orjson

from backends.request import ChatPrompt, Message, TextPrompt
from tests.adapters.llamacpp_tools import USER, ask, events, keys, parsed, recorded, recorded_events, refusal
from tests.fakes import CUT, STOPPED, Script, ScriptedBackend, said


async def test_the_answer_has_the_recorded_keys_in_their_order() -> None:
    told = orjson.loads(recorded("oc_basic").body)
    ours = await ask("completions", {"prompt": "a"}, backend=ScriptedBackend(CUT))
    assert keys(ours) == keys(told)
    assert ours["choices"] == [{"text": "one two", "index": 0, "logprobs": None, "finish_reason": "length"}]
    assert (ours["object"], ours["model"]) == ("text_completion", "tiny")
    assert ours["id"].startswith("chatcmpl-")
    assert ours["usage"]["total_tokens"] == 9


async def test_the_length_is_unlimited_unless_told() -> None:
    assert (await parsed("completions", {"prompt": "a"})).max_tokens is None
    assert (await parsed("completions", {"prompt": "a", "max_tokens": -1})).max_tokens is None
    assert (await parsed("completions", {"prompt": "a", "max_tokens": 3})).max_tokens == 3


async def test_prompts_and_refusals_are_the_native_ones() -> None:
    assert (await parsed("completions", {"prompt": [1, "a"]})).prompts == (TextPrompt(((1,), "a"), add_special=False),)
    told = orjson.loads(recorded("oc_missing_prompt").body)["error"]["message"]
    assert (await refusal("completions", {"model": "tiny", "max_tokens": 2}))[2] == told
    told = orjson.loads(recorded("oc_temp_string").body)["error"]["message"]
    assert (await refusal("completions", {"prompt": "a", "temperature": "hot"}))[2] == told


async def test_messages_without_a_prompt_are_a_chat_that_is_answered_as_text() -> None:
    """Twinny's Ooba provider and Continue's GGML class send them."""
    assert (await parsed("completions", {"messages": USER})).prompts == (ChatPrompt((Message("user", "hi"),)),)
    assert (await ask("completions", {"messages": USER}))["choices"][0]["text"] == "Hello world"


async def test_log_probabilities_are_those_of_a_chat() -> None:
    body = {"prompt": "a", "logprobs": 1}
    whole = await ask("completions", body, backend=ScriptedBackend(Script(said("H"))))
    assert list(whole["choices"][0]["logprobs"]["content"][0]) == ["id", "token", "bytes", "logprob", "top_logprobs"]
    streamed = await events("completions", body, backend=ScriptedBackend(Script(said("H"))))
    assert keys(streamed[0]["choices"][0]["logprobs"]["content"][0]) == keys(
        recorded_events("oc_logprobs_stream")[0]["choices"][0]["logprobs"]["content"][0]
    )


async def test_a_stream_has_the_recorded_kinds_of_chunks() -> None:
    told, ours = recorded_events("oc_stream"), await events("completions", {"prompt": "a"})
    for theirs, mine in ((told[0], ours[0]), (told[-2], ours[-2])):
        assert keys(mine) == keys(theirs)
        assert keys(mine["choices"][0]) == keys(theirs["choices"][0])
    assert "".join(chunk["choices"][0]["text"] for chunk in ours[:-1]) == "Hello world"
    assert ours[-2]["usage"]["completion_tokens"] == 11
    assert ours[-1] == "[DONE]"


async def test_a_stop_string_ends_with_a_chunk_that_has_timings() -> None:
    ours = await events("completions", {"prompt": "a"}, backend=ScriptedBackend(STOPPED))
    assert ours[-3]["choices"][0]["text"] == ""
    assert list(ours[-3])[-1] == "timings"
    assert ours[-2]["choices"][0]["finish_reason"] == "stop"


async def test_timings_and_progress() -> None:
    ours = await events("completions", {"prompt": "a", "timings_per_token": True, "return_progress": True})
    assert ours[0]["prompt_progress"]["processed"] == 2
    assert [chunk["timings"]["predicted_n"] for chunk in ours[1:4]] == [3, 5, 11]


async def test_several_prompts() -> None:
    whole = await ask("completions", {"prompt": ["a", "b"]})
    assert [choice["index"] for choice in whole["choices"]] == [0, 1]
    streamed = await events("completions", {"prompt": ["a", "b"]})
    assert streamed.count(None) == 1
