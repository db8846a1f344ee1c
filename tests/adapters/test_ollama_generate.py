"""POST /api/generate: what reaches the backend, and what the client gets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backends.base import BackendState
from backends.errors import BackendFailed
from backends.request import ChatPrompt, Image, InfillPrompt, Message, Prompt, TextPrompt
from tests.adapters.ollama_tools import JSON, JSON_UTF8, NDJSON, PLAIN, ask
from tests.fakes import CUT, EMOJI, HELLO, INFO, THINKING, TOKENIZER, Fails, Script, said

PROMPT = {"model": "m", "prompt": "hi"}
METRICS = [
    "total_duration",
    "load_duration",
    "prompt_eval_count",
    "prompt_eval_duration",
    "eval_count",
    "eval_duration",
]


async def prompt_of(**fields: object) -> Prompt:
    seeing = replace(INFO, capabilities=INFO.capabilities | {"vision"})
    return (await ask("generate", PROMPT | fields, info=seeing)).prompt


def chat(*messages: Message) -> ChatPrompt:
    return ChatPrompt(messages)


# the prompt


async def test_a_prompt_is_a_chat_of_one_message() -> None:
    assert await prompt_of() == chat(Message("user", "hi"))


async def test_a_system_text_comes_first() -> None:
    assert await prompt_of(system="S") == chat(Message("system", "S"), Message("user", "hi"))


async def test_pictures_belong_to_the_prompt() -> None:
    assert await prompt_of(images=["cG5n"]) == chat(Message("user", "hi", images=(Image(data=b"png"),)))


async def test_raw_is_the_text_as_it_is() -> None:
    assert await prompt_of(raw=True, stream=None) == TextPrompt(("hi",))


async def test_raw_has_no_use_for_a_suffix() -> None:
    said = await ask("generate", PROMPT | {"raw": True, "suffix": "x"})
    assert said.prompt == TextPrompt(("hi",))
    assert said.ignored == ["suffix"]


@pytest.mark.parametrize("field", [{"system": "S"}, {"template": "T"}, {"context": [1]}])
async def test_raw_goes_with_nothing_that_makes_a_prompt(field: dict[str, object]) -> None:
    said = await ask("generate", PROMPT | {"raw": True} | field)
    assert said.error == (400, "raw mode does not support template, system, or context")


async def test_a_suffix_asks_for_what_stands_between() -> None:
    assert await prompt_of(suffix="\nreturn c") == InfillPrompt("hi", "\nreturn c")


async def test_a_model_that_can_not_fill_in_refuses_to() -> None:
    said = await ask("generate", PROMPT | {"suffix": "x"}, info=PLAIN)
    assert said.error == (400, "registry.ollama.ai/library/m:latest does not support insert")


async def test_a_template_makes_the_text() -> None:
    template = "{{ .System }}|{{ .Prompt }}|{{ .Response }}|end"
    assert await prompt_of(template=template, system="S") == TextPrompt(("S|hi|",))
    assert await prompt_of(template="<P>{{ .Prompt }}<S>{{ .Suffix }}<M>", suffix="x") == TextPrompt(("<P>hi<S>x<M>",))


async def test_a_template_that_is_none_is_a_500() -> None:
    said = await ask("generate", PROMPT | {"template": "{{ .Prompt"})
    assert said.error == (500, "template: :1: unclosed action")


async def test_a_template_without_a_prompt_is_the_prompt() -> None:
    """As Continue of 2023 sends it: text that is filled in already, in which braces mean nothing."""
    body: dict[str, object] = {"template": "[INST] f(x) = {{ 1 }} [/INST]", "model": "m", "system": None, "options": {}}
    assert (await ask("generate", body)).prompt == TextPrompt(("[INST] f(x) = {{ 1 }} [/INST]",))


async def test_empty_texts_are_absent() -> None:
    """As ollama-python 0.1.2 sends every field."""
    empty = {"system": "", "template": "", "context": [], "format": "", "images": [], "raw": False, "suffix": ""}
    assert await prompt_of(**empty) == chat(Message("user", "hi"))


# the context


async def test_the_last_line_has_the_tokens_of_the_exchange() -> None:
    last = (await ask("generate", PROMPT)).lines[-1]
    written = TOKENIZER.encode("Hello world")
    assert last["context"] == [*TOKENIZER.encode("<|user|>hi\n<|assistant|>", add_special=True), *written]


async def test_the_context_stands_before_the_next_prompt() -> None:
    said = await ask("generate", PROMPT | {"context": [5, 6.0, 7]})
    assert said.prompt == TextPrompt(((5, 6, 7), "<|user|>hi\n<|assistant|>"), add_special=False)


async def test_a_context_goes_before_a_template_too() -> None:
    assert await prompt_of(context=[5], template="{{ .Prompt }}") == TextPrompt(((5,), "hi"), add_special=False)


async def test_filling_in_has_no_context() -> None:
    said = await ask("generate", PROMPT | {"context": [5], "suffix": "x", "system": "S"})
    assert said.prompt == InfillPrompt("hi", "x")
    assert said.ignored == ["system", "context"]


async def test_raw_answers_have_no_context() -> None:
    assert "context" not in (await ask("generate", PROMPT | {"raw": True})).lines[-1]


# the answer


async def test_it_streams_unless_told_not_to() -> None:
    for stream in ({}, {"stream": None}, {"stream": True}):
        said = await ask("generate", PROMPT | stream)
        assert said.content_type == NDJSON
        assert [line["response"] for line in said.lines] == ["Hel", "lo", " world", ""]
        assert [line["done"] for line in said.lines] == [False, False, False, True]


async def test_lines_have_gos_keys_in_gos_order() -> None:
    lines = (await ask("generate", PROMPT)).lines
    assert list(lines[0]) == ["model", "created_at", "response", "done"]
    assert list(lines[-1]) == ["model", "created_at", "response", "done", "done_reason", "context", *METRICS]


async def test_a_whole_answers_keys_are_in_gos_order() -> None:
    said = await ask("generate", PROMPT | {"stream": False, "logprobs": True}, THINKING)
    assert said.content_type == JSON_UTF8
    assert list(said.json) == [
        "model", "created_at", "response", "thinking", "done", "done_reason", "context", *METRICS, "logprobs",
    ]  # fmt: skip
    assert (said.json["response"], said.json["thinking"]) == ("Forty-two.", "Let me see.")
    assert not said.body.endswith(b"\n")


async def test_thought_has_lines_of_its_own() -> None:
    lines = (await ask("generate", PROMPT, THINKING)).lines
    assert list(lines[0]) == ["model", "created_at", "response", "thinking", "done"]
    assert [line.get("thinking") for line in lines] == ["Let me", " see.", None, None, None]
    assert lines[0]["response"] == ""


async def test_a_whole_answer_says_the_same_as_its_stream() -> None:
    for script in (HELLO, EMOJI, CUT, THINKING):
        lines = (await ask("generate", PROMPT, script)).lines
        whole = (await ask("generate", PROMPT | {"stream": False}, script)).json
        assert whole["response"] == "".join(line["response"] for line in lines)
        assert whole.get("thinking", "") == "".join(line.get("thinking", "") for line in lines)
        assert (whole["done_reason"], whole["context"]) == (lines[-1]["done_reason"], lines[-1]["context"])


async def test_logprobs_stand_behind_done() -> None:
    line = (await ask("generate", PROMPT | {"logprobs": True}, Script(said("H")))).lines[0]
    assert list(line) == ["model", "created_at", "response", "done", "logprobs"]


async def test_an_error_in_the_middle_is_one_more_line() -> None:
    lines = (await ask("generate", PROMPT, fault=Fails(BackendFailed("it broke"), after=4))).lines
    assert lines[-1] == {"error": "it broke"}


async def test_an_error_before_the_first_line_has_a_status() -> None:
    said = await ask("generate", PROMPT, fault=Fails(BackendFailed("it broke")))
    assert (said.error, said.content_type) == ((500, "it broke"), JSON)


# loading


@pytest.mark.parametrize("prompt", [{}, {"prompt": ""}, {"prompt": None, "stream": True}])
async def test_no_prompt_loads_the_model(prompt: dict[str, object]) -> None:
    said = await ask("generate", {"model": "m"} | prompt, state=BackendState.STOPPED)
    assert said.content_type == JSON_UTF8
    assert list(said.json) == ["model", "created_at", "response", "done", "done_reason"]
    assert (said.json["response"], said.json["done"], said.json["done_reason"]) == ("", True, "load")
    assert said.models.served[0].backend.state is BackendState.READY


async def test_no_prompt_and_no_keep_alive_unloads_it() -> None:
    said = await ask("generate", {"model": "m", "keep_alive": 0})
    assert said.json["done_reason"] == "unload"
    assert said.models.kept_s == {"m": 0.0}


async def test_keep_alive_with_a_prompt_is_for_afterwards() -> None:
    said = await ask("generate", PROMPT | {"keep_alive": 0})
    assert said.lines[-1]["done_reason"] == "stop"
    assert said.models.kept_s == {"m": 0.0}


async def test_a_model_that_only_embeds_does_not_generate() -> None:
    said = await ask("generate", {"model": "m"}, info=replace(INFO, capabilities=frozenset({"embedding"})))
    assert said.error == (400, '"m" does not support generate')


async def test_a_model_must_be_named() -> None:
    assert (await ask("generate", {"prompt": "x"})).error == (404, "model '' not found")


async def test_top_logprobs_have_a_range() -> None:
    said = await ask("generate", {"model": "m", "top_logprobs": 21})
    assert said.error == (400, "top_logprobs must be between 0 and 20")


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({}, "<|user|>hi\n<|assistant|>"),
        ({"raw": True}, "hi"),
        ({"context": [72, 105]}, "Hi<|user|>hi\n<|assistant|>"),
    ],
)
async def test_the_prompt_can_be_shown_instead(fields: dict[str, object], shown: str) -> None:
    said = await ask("generate", PROMPT | {"_debug_render_only": True} | fields)
    assert said.json["_debug_info"] == {"rendered_template": shown}
    assert said.json["done"] is False


async def test_what_an_infill_becomes_can_not_be_shown() -> None:
    status, _ = (await ask("generate", PROMPT | {"_debug_render_only": True, "suffix": "x"})).error
    assert status == 400
