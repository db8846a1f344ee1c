"""POST /completion: forms of prompts, the native answer, its stream, and the clients that read them."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest

from adapters.llamacpp.completion import CompletionExchange
from adapters.llamacpp.dialect import DIALECT
from adapters.llamacpp.fields import Fields
from adapters.llamacpp.request import Asked
from backends.base import Slot
from backends.errors import BackendFailed, PromptTooLong
from backends.events import Completion, Finished, Prefilled, Reasoning, Started, Text, TokenLogprob, Usage
from backends.request import ChatPrompt, Message, TextPrompt
from tests.adapters.llamacpp_tools import (
    USER,
    ask,
    events,
    exchange,
    frames,
    keys,
    models_of,
    parsed,
    read_frame,
    recorded_events,
    refusal,
)
from tests.fakes import (
    CUT,
    EMOJI,
    INFO,
    STOPPED,
    Fails,
    Script,
    ScriptedBackend,
    answer,
    call,
    said,
)

EARLY_2024 = ("stopped_eos", "stopped_limit", "stopped_word")

# prompts


@pytest.mark.parametrize(
    ("prompt", "prompts"),
    [
        ("a", (TextPrompt(("a",)),)),
        ("", (TextPrompt(("",)),)),
        ([1, 2], (TextPrompt(((1, 2),), add_special=False),)),
        ([1, "a", 2, 3], (TextPrompt(((1,), "a", (2, 3)), add_special=False),)),
        (["a", 1, "b"], (TextPrompt(("a", (1,), "b")),)),
        (["a", "b"], (TextPrompt(("a",)), TextPrompt(("b",)))),
        ([[1], [2, "x"], "y"], (TextPrompt(((1,),), add_special=False), TextPrompt(((2,), "x"), add_special=False),
                                TextPrompt(("y",)))),
        ({"prompt_string": "a"}, (TextPrompt(("a",)),)),
    ],
)  # fmt: skip
async def test_every_form_of_prompt(prompt: object, prompts: tuple[TextPrompt, ...]) -> None:
    assert (await parsed("completion", {"prompt": prompt})).prompts == prompts


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "[json.exception.out_of_range.403] key 'prompt' not found"),
        ({"prompt": []}, '"prompt" must not be empty'),
        ({"prompt": [258]}, "Prompt contains invalid tokens"),
        ({"prompt": [-1]}, "Prompt contains invalid tokens"),
        (
            {"prompt": {"prompt_string": "a", "multimodal_data": ["AA"]}},
            "Multimodal data provided, but model does not support multimodal requests.",
        ),
        *(
            (
                {"prompt": prompt},
                '"prompt" elements must be a string, a list of tokens, a JSON object containing a prompt string, '
                "or a list of mixed strings & tokens.",
            )
            for prompt in (None, 5, True, {"a": 1}, [["a", "b"]], [1, None])
        ),
        ([1], "[json.exception.type_error.304] cannot use at() with array"),
        ("null", "[json.exception.type_error.304] cannot use at() with null"),
    ],
)
async def test_a_bad_prompt_is_refused_in_the_servers_words(body: object, message: str) -> None:
    assert await refusal("completion", body) == (400, "invalid_request_error", message)


async def test_bad_json_is_a_server_error() -> None:
    status, kind, message = await refusal("completion", '{"prompt": ')
    assert (status, kind) == (500, "server_error")
    assert message.startswith("[json.exception.parse_error.101] parse error at line 1, column 12")


async def test_a_byte_order_mark_is_passed_over() -> None:
    assert (await ask("completion", b'\xef\xbb\xbf{"prompt":"a"}'))["content"] == "Hello world"


async def test_messages_without_a_prompt_are_a_chat_with_a_native_answer() -> None:
    """Twinny's llama.cpp provider sends its chats here."""
    assert (await parsed("completion", {"messages": USER})).prompts == (ChatPrompt((Message("user", "hi"),)),)
    assert (await ask("completion", {"messages": USER}))["content"] == "Hello world"


COLLAMA_CHAT = {
    "messages": [{"speaker": "human", "text": "hi"}, {"speaker": "assistant"}],
    "prompt": "hi", "stream": True, "n_predict": 9, "top_k": -1, "top_p": -1, "maxTokensToSample": 9, "topK": -1,
    "topP": -1,
}  # fmt: skip


@pytest.mark.parametrize("path", ["/completion", "/v1/completion", "/vi/completion"])
async def test_both_requests_of_collama(path: str) -> None:
    """Cody's messages stand beside the prompt and count for nothing; each event is one with content and stop."""
    streamed = await events("completion", COLLAMA_CHAT, path=path)
    assert "".join(event["content"] for event in streamed) == "Hello world"
    assert [event["stop"] for event in streamed] == [False, False, False, True]
    whole = await ask("completion", COLLAMA_CHAT | {"stream": False}, path=path)
    assert whole["content"] == "Hello world"


# the whole answer


async def test_the_answer_has_the_recorded_keys_in_their_order() -> None:
    told = recorded_events("cmpl_stream")[-1]
    ours = await ask("completion", {"prompt": "a"})
    assert keys(ours, but=EARLY_2024) == keys(told)
    assert list(ours["timings"]) == list(told["timings"])
    assert list(ours)[-3:] == list(EARLY_2024)


async def test_counts_and_timings_are_real() -> None:
    backend = ScriptedBackend(CUT, cached_tokens=2)
    whole = await ask("completion", {"prompt": "abc"}, backend=backend)
    assert (whole["tokens_evaluated"], whole["tokens_predicted"], whole["tokens_cached"]) == (4, 7, 10)
    assert whole["timings"] == {
        "cache_n": 2, "prompt_n": 2, "prompt_ms": 125.0, "prompt_per_token_ms": 62.5, "prompt_per_second": 16.0,
        "predicted_n": 7, "predicted_ms": 2000.0, "predicted_per_token_ms": pytest.approx(2000 / 6),
        "predicted_per_second": 3.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("script", "stop_type", "word", "flag"),
    [
        (CUT, "limit", "", "stopped_limit"),
        (STOPPED, "word", " three", "stopped_word"),
        (Script(said("a")), "eos", "", "stopped_eos"),
    ],
)
async def test_how_it_ended_is_told_as_today_and_as_in_early_2024(
    script: Script, stop_type: str, word: str, flag: str
) -> None:
    whole = await ask("completion", {"prompt": "a"}, backend=ScriptedBackend(script))
    assert (whole["stop_type"], whole["stopping_word"]) == (stop_type, word)
    assert [name for name in EARLY_2024 if whole[name]] == [flag]


async def test_what_modelfusion_validates_is_there() -> None:
    """Privy's client (modelfusion LlamaCppCompletionModel) refuses an answer that lacks one of these."""
    whole = await ask("completion", {"prompt": "a"})
    kinds: dict[str, type] = {
        "model": str, "n_ctx": int, "tfs_z": float, "penalize_nl": bool, "ignore_eos": bool, "typical_p": float,
        "stream": bool, "stop": list, "logit_bias": list, "n_keep": int,
    }  # fmt: skip
    assert {name: type(whole["generation_settings"][name]) for name in kinds} == kinds
    assert isinstance(whole["prompt"], str)
    assert isinstance(whole["truncated"], bool)


async def test_the_model_is_the_served_name_not_an_echo() -> None:
    whole = await ask("completion", {"prompt": "a", "model": "gpt-3.5-turbo"})
    assert (whole["model"], whole["generation_settings"]["model"]) == ("tiny", "tiny")


async def test_tokens_are_told_when_asked_for() -> None:
    assert (await ask("completion", {"prompt": "a"}))["tokens"] == []
    assert (await ask("completion", {"prompt": "a", "return_tokens": True}))["tokens"] == list(b"Hello world")


async def test_a_full_window_is_told_as_truncated() -> None:
    small = ScriptedBackend(CUT, info=replace(INFO, window=9))
    assert (await ask("completion", {"prompt": "a"}, backend=small))["truncated"]
    assert not (await ask("completion", {"prompt": "a"}, backend=ScriptedBackend(CUT)))["truncated"]


async def test_probabilities() -> None:
    whole = await ask("completion", {"prompt": "a", "n_probs": 2}, backend=ScriptedBackend(Script(said("H"))))
    (token,) = whole["completion_probabilities"]
    assert list(token) == ["id", "token", "bytes", "logprob", "top_logprobs"]
    assert (token["id"], token["token"], token["bytes"], token["logprob"]) == (72, "H", [72], -0.5)
    assert [other["token"] for other in token["top_logprobs"]] == ["H", "I"]
    after = await ask("completion", {"prompt": "a", "n_probs": 1, "post_sampling_probs": True})
    token = after["completion_probabilities"][0]
    assert list(token) == ["id", "token", "bytes", "prob", "top_probs"]
    assert token["prob"] == pytest.approx(math.exp(-0.5))


async def test_a_token_that_is_half_a_code_point_has_its_bytes() -> None:
    whole = await ask("completion", {"prompt": "a", "n_probs": 1}, backend=ScriptedBackend(Script(said("é"))))
    first = whole["completion_probabilities"][0]
    assert (first["token"], first["bytes"]) == ("", [0xC3])


async def test_an_impossible_token_has_a_number_all_the_same() -> None:
    token = TokenLogprob(1, "a", b"a", -math.inf)
    started, end = Started(0, 1), Finished(0, "end", Usage(1, 1))
    made = await exchange("completion", {"prompt": "a", "n_probs": 1})
    completion = Completion(1)
    for event in (started, Text(0, "a", (1,), (token,)), end):
        completion.add(event)
    assert b'"logprob":-3.4028234663852886e38' in made.reply(completion).body.replace(b"e+38", b"e38")


async def test_only_the_fields_that_were_asked_for() -> None:
    wanted = ["content", "generation_settings/n_predict", "timings/prompt_n", "nope", "content/x"]
    whole = await ask("completion", {"prompt": "abc", "n_predict": 4, "response_fields": wanted})
    assert whole == {"content": "Hello world", "generation_settings/n_predict": 4, "timings/prompt_n": 4}
    assert await ask("completion", {"prompt": "a", "response_fields": [""]}) == {}


async def test_several_answers_are_an_array() -> None:
    two = await ask("completion", {"prompt": ["a", "b"]})
    assert [(one["index"], one["prompt"]) for one in two] == [(0, "a"), (1, "b")]
    assert [one["index"] for one in await ask("completion", {"prompt": "a", "n_cmpl": 2})] == [0, 1]
    assert isinstance(await ask("completion", {"prompt": ["a"]}), dict)


async def test_no_more_completions_than_slots() -> None:
    three = ScriptedBackend(slots=[Slot(0), Slot(1), Slot(2)])
    assert len(await ask("completion", {"prompt": "a", "n_cmpl": 3}, backend=three)) == 3
    _, _, message = await refusal("completion", {"prompt": "a", "n_cmpl": 3})
    assert message == "Field 'n_cmpl': Value must be between 1 <= value <= 2, but got 3"


async def test_json_is_compact() -> None:
    """llama.vim looks for `"content":"` with a regular expression that allows no blank."""
    made = await exchange("completion", {"prompt": "a"})
    completion = Completion(1)
    for event in (Started(0, 1), Text(0, 'x, "y": z', (1,)), Finished(0, "end")):
        completion.add(event)
    assert re.search(rb'"content"\s*:"', made.reply(completion).body)


async def test_a_prompt_that_is_too_long_is_told_with_both_numbers() -> None:
    too_long = ScriptedBackend(fault=Fails(PromptTooLong(3002, 2048)))
    assert await refusal("completion", {"prompt": "a"}, backend=too_long) == (
        400,
        "exceed_context_size_error",
        "request (3002 tokens) exceeds the available context size (2048 tokens), try increasing it",
    )


# the stream


async def test_a_stream_byte_by_byte() -> None:
    first, second, *_ = await frames("completion", {"prompt": "Hi!"})
    assert first == (
        b'data: {"index":0,"content":"Hel","tokens":[72,101,108],"stop":false,"id_slot":-1,'
        b'"tokens_predicted":3,"tokens_evaluated":4}\n\n'
    )
    assert second == (
        b'data: {"index":0,"content":"lo","tokens":[108,111],"stop":false,"id_slot":-1,'
        b'"tokens_predicted":5,"tokens_evaluated":4}\n\n'
    )


async def test_every_event_of_a_stream_has_content_and_stop_and_nothing_follows() -> None:
    """Old clients parse each line as such an event: no `[DONE]`, no comment, no carriage return."""
    sent = await frames("completion", {"prompt": "a"}, backend=ScriptedBackend(EMOJI))
    assert all(re.fullmatch(rb"data: \{[^\r\n]*\}\n\n", frame) for frame in sent)
    read = [read_frame(frame) for frame in sent]
    assert [event["content"] for event in read] == ["a", "👋", "é", "z", ""]
    assert [event["stop"] for event in read] == [False] * 4 + [True]
    assert all("choices" not in event for event in read)


async def test_the_last_event_is_the_recorded_one() -> None:
    told = recorded_events("cmpl_stream")
    ours = await events("completion", {"prompt": "a"})
    assert keys(ours[0]) == keys(told[0])
    assert keys(ours[-1], but=EARLY_2024) == keys(told[-1])
    assert (ours[-1]["content"], ours[-1]["tokens"]) == ("", [])


async def test_text_is_escaped_as_json_does() -> None:
    text = 'say "hi"\n\\ \x07 é'
    streamed = await events("completion", {"prompt": "a"}, backend=ScriptedBackend(Script(said(text))))
    assert streamed[0]["content"] == text
    assert streamed[-1]["has_new_line"] is True


async def test_a_stop_string_ends_with_an_event_that_has_timings() -> None:
    told = recorded_events("cmpl_stop_word_stream")
    ours = await events("completion", {"prompt": "a"}, backend=ScriptedBackend(STOPPED))
    assert keys(ours[-2]) == keys(told[-2])
    assert ours[-2]["content"] == ""
    assert len(ours[-2]["tokens"]) == 1


async def test_timings_with_every_token() -> None:
    told = recorded_events("cmpl_stream_timings_per_token")
    ours = await events("completion", {"prompt": "abc", "timings_per_token": True})
    assert keys(ours[0]) == keys(told[0])
    assert [event["timings"]["predicted_n"] for event in ours] == [3, 5, 11, 11]
    assert ours[0]["timings"]["prompt_ms"] == 125.0


async def test_timings_before_the_end_come_from_the_clock() -> None:
    made = await exchange("completion", {"prompt": "abc"})
    ticks = iter([10.0, 10.0, 10.5])
    fields = Fields(stream=True, timings_per_token=True)
    timed = CompletionExchange(Asked(made.served, made.request, fields), clock=lambda: next(ticks))
    list(timed.frames(Started(0, 4)))
    list(timed.frames(Prefilled(0, 4, 1, 4, 0.25)))
    (first,) = timed.frames(Text(0, "a", (1,)))
    (second,) = timed.frames(Text(0, "b", (2, 3)))
    assert read_frame(first)["timings"]["predicted_ms"] == 0
    assert read_frame(second)["timings"] == {
        "cache_n": 1, "prompt_n": 3, "prompt_ms": 250.0, "prompt_per_token_ms": pytest.approx(250 / 3),
        "prompt_per_second": 12.0, "predicted_n": 3, "predicted_ms": 500.0, "predicted_per_token_ms": 250.0,
        "predicted_per_second": 4.0,
    }  # fmt: skip


async def test_progress_of_the_prompt() -> None:
    told = recorded_events("cmpl_stream_progress")[0]
    ours = (await events("completion", {"prompt": "abc", "return_progress": True}))[0]
    assert keys(ours) == keys(told)
    assert ours["prompt_progress"] == {"total": 4, "cache": 0, "processed": 4, "time_ms": 125}
    assert (ours["content"], ours["tokens"], ours["tokens_predicted"]) == ("", [0], 0)


async def test_probabilities_ride_on_their_event_and_not_on_the_last() -> None:
    streamed = await events("completion", {"prompt": "a", "n_probs": 1})
    assert [len(event["completion_probabilities"]) for event in streamed[:-1]] == [3, 2, 6]
    assert "completion_probabilities" not in streamed[-1]


async def test_each_later_prompt_is_marked_as_the_server_does() -> None:
    """llama-server sends `null` where a prompt begins, except for the first."""
    assert recorded_events("cmpl_prompt_array_strings_stream")[0] is None
    streamed = await events("completion", {"prompt": ["a", "b", "c"], "n_cmpl": 2})
    assert sum(event is None for event in streamed) == 2
    assert {event["index"] for event in streamed if event} == set(range(6))
    assert sum(event["stop"] for event in streamed if event) == 6


async def test_evaluating_the_prompt_brings_a_token_along() -> None:
    """llama.vim warms the cache with `n_predict: 0`; the recorded answer has the token that comes with the prompt."""
    assert (await parsed("completion", {"prompt": "", "n_predict": 0})).max_tokens == 1
    assert [event["tokens_predicted"] for event in recorded_events("cmpl_n_predict_0_stream")] == [1, 1]


async def test_a_fraction_is_no_token() -> None:
    assert (await refusal("completion", {"prompt": [1, 2.0]}))[0] == 400


async def test_an_error_in_mid_stream_is_told_and_ends_it() -> None:
    broken = ScriptedBackend(fault=Fails(BackendFailed("the worker died"), after=3))
    streamed = await events("completion", {"prompt": "a"}, backend=broken)
    assert streamed[-1] == {"error": {"code": 500, "message": "the worker died", "type": "server_error"}}


async def test_headers_of_a_stream() -> None:
    made = await exchange("completion", {"prompt": "a", "stream": True})
    assert (made.content_type, made.headers) == ("text/event-stream", {"X-Accel-Buffering": "no"})


async def test_thought_is_text_where_nothing_else_can_hold_it() -> None:
    made = await exchange("completion", {"messages": USER, "stream": True})
    list(made.frames(Started(0, 1)))
    (frame,) = made.frames(Reasoning(0, "hm", (1, 2)))
    assert read_frame(frame)["content"] == "hm"


# n_indent


INDENTED = Script(said("if a:\n", "    b", "\n", "  ", "c\nd"))


async def test_a_line_that_is_indented_less_ends_the_answer() -> None:
    whole = await ask("completion", {"prompt": "a", "n_indent": 4}, backend=ScriptedBackend(INDENTED))
    assert (whole["content"], whole["stop_type"]) == ("if a:\n    b\n  ", "limit")
    streamed = await events("completion", {"prompt": "a", "n_indent": 4}, backend=ScriptedBackend(INDENTED))
    assert "".join(event["content"] for event in streamed) == "if a:\n    b\n  "
    assert streamed[-1]["stopped_limit"] is True


async def test_without_n_indent_nothing_is_cut() -> None:
    whole = await ask("completion", {"prompt": "a"}, backend=ScriptedBackend(INDENTED))
    assert whole["content"] == "if a:\n    b\n  c\nd"


# /completions


OPENAI_KEYS = ("choices", "created", "system_fingerprint", "object", "usage", "id")


async def test_openai_clients_get_both_shapes() -> None:
    whole = await ask("bilingual", {"prompt": "a"})
    assert whole["content"] == whole["choices"][0]["text"] == "Hello world"
    assert whole["stop"] is True
    assert set(OPENAI_KEYS) <= set(whole)
    asked = call("POST", "/completions", {"prompt": "a", "stream": True}, models=models_of(ScriptedBackend()))
    streamed = (await answer(DIALECT.verbs["bilingual"], asked)).frames
    assert read_frame(streamed[0])["choices"][0]["text"] == "Hel"
    assert streamed[-1] == b"data: [DONE]\n\n"


async def test_everybody_else_gets_the_native_shape() -> None:
    whole = await ask("completion", {"prompt": "a", "model": "x", "max_tokens": 5})
    assert whole["content"] == "Hello world"
    assert "choices" not in whole
