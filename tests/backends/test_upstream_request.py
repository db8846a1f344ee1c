from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from backends.accent import ACCENTS, LLAMACPP, OLLAMA, OPENAI, SGLANG, VLLM, Accent, accent_of
from backends.errors import Unsupported
from backends.request import (
    TEMPERATURE_FIRST,
    AnyJson,
    ChatPrompt,
    Choice,
    Dry,
    FunctionCall,
    Gbnf,
    GenerateRequest,
    Image,
    InfillPrompt,
    JsonSchema,
    Message,
    Mirostat,
    NamedTool,
    OutputFormat,
    Prompt,
    Regex,
    Sampling,
    TextPrompt,
    Tool,
    Xtc,
)
from backends.upstream_request import UpstreamRequest, to_upstream

TEXT = TextPrompt(("def f(",))
CHAT = ChatPrompt((Message("user", "Hi"),))
SCHEMA = {"type": "object"}


def sent(prompt: Prompt = TEXT, accent: Accent = VLLM, **fields: Any) -> UpstreamRequest:
    request = GenerateRequest(id="r", prompts=(prompt,), **fields)
    return to_upstream(request, prompt, accent, model="m", window=100, seed=request.sampling.seed)


def body(prompt: Prompt = TEXT, accent: Accent = VLLM, **fields: Any) -> dict[str, Any]:
    return sent(prompt, accent, **fields).body


def test_text_is_a_completion_and_a_chat_stays_a_chat() -> None:
    assert sent(TEXT).path == "/v1/completions"
    assert sent(TEXT).body["prompt"] == "def f("
    assert sent(CHAT).path == "/v1/chat/completions"
    assert sent(CHAT).body["messages"] == [{"role": "user", "content": "Hi"}]
    assert body(TextPrompt(((1, 2),)))["prompt"] == [1, 2]
    assert body(TextPrompt(("x",), add_special=False))["add_special_tokens"] is False


def test_every_answer_is_streamed_but_those_that_vllm_doesn_t_stream() -> None:
    assert body()["stream"] is True
    assert body()["stream_options"] == {"include_usage": True}
    assert body(prompt_logprobs=0)["stream"] is False
    assert "stream_options" not in body(prompt_logprobs=0)


def test_a_message_keeps_all_it_has() -> None:
    picture = Image("image/png", b"\x89P")
    messages = (
        Message("user", "Look", images=(picture, Image(url="http://x/y.png"))),
        Message("assistant", "", reasoning="hm", tool_calls=(FunctionCall("c1", "f", "{}"),)),
        Message("tool", "42", tool_call_id="c1", name="f"),
    )
    user, assistant, tool = body(ChatPrompt(messages))["messages"]
    assert user["content"] == [
        {"type": "text", "text": "Look"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVA="}},
        {"type": "image_url", "image_url": {"url": "http://x/y.png"}},
    ]
    assert assistant["tool_calls"] == [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    assert assistant["reasoning"] == "hm"
    assert tool == {"role": "tool", "content": "42", "tool_call_id": "c1", "name": "f"}


def test_tools_and_their_choice() -> None:
    tools = (Tool("f", "does f", SCHEMA),)
    said = body(replace(CHAT, tools=tools, tool_choice=NamedTool("f"), parallel_tool_calls=False))
    function = {"name": "f", "description": "does f", "parameters": SCHEMA}
    assert said["tools"] == [{"type": "function", "function": function}]
    assert said["tool_choice"] == {"type": "function", "function": {"name": "f"}}
    assert said["parallel_tool_calls"] is False
    assert body(replace(CHAT, tools=tools))["tool_choice"] == "auto"
    assert "tool_choice" not in body(CHAT)


def test_the_template_s_variables() -> None:
    asked = replace(CHAT, template_args={"documents": []}, continue_final=True)
    assert body(asked, reasoning=False)["chat_template_kwargs"] == {
        "enable_thinking": False,
        "thinking": False,
        "documents": [],
    }
    assert body(asked)["continue_final_message"] is True
    assert body(asked)["add_generation_prompt"] is False
    assert body(replace(CHAT, add_generation_prompt=False))["add_generation_prompt"] is False
    assert body(CHAT, OPENAI, reasoning=False)["reasoning_effort"] == "none"
    with pytest.raises(Unsupported):
        body(replace(CHAT, add_generation_prompt=False), OLLAMA)


@pytest.mark.parametrize(
    ("fields", "accent", "wanted"),
    [
        ({"max_tokens": 5}, VLLM, 5),
        ({"max_tokens": 500}, VLLM, 100),  # vLLM refuses more than its window
        ({"max_tokens": 0}, VLLM, 1),  # servers refuse 0
        ({}, VLLM, 100),  # left out it would mean 16
        ({}, LLAMACPP, None),
        ({}, OLLAMA, None),
    ],
)
def test_how_long(fields: dict[str, Any], accent: Accent, wanted: int | None) -> None:
    assert body(TEXT, accent, **fields).get("max_tokens") == wanted


def test_a_chat_without_a_limit_fills_the_window() -> None:
    assert "max_tokens" not in body(CHAT)


def test_what_isn_t_said_is_left_to_the_model() -> None:
    assert not {"temperature", "top_p", "top_k", "seed", "stop"} & set(body())


def test_neutral_values_are_said_because_the_model_has_defaults_of_its_own() -> None:
    said = body(
        sampling=Sampling(temperature=0.5, top_k=-1, top_p=1.0, min_p=0.0, repetition_penalty=1.0, seed=2**64 - 1)
    )
    assert (said["temperature"], said["top_k"], said["top_p"], said["min_p"]) == (0.5, 0, 1.0, 0.0)
    assert said["repetition_penalty"] == 1.0
    assert said["seed"] == 2**63 - 1


def test_a_sampler_that_the_order_leaves_out_does_not_act() -> None:
    said = body(sampling=Sampling(temperature=0.5, top_k=40, order=("top_p",)))
    assert (said["temperature"], said["top_k"]) == (1.0, 0)


def test_what_only_shades_randomness_is_ignored_by_name() -> None:
    sampling = Sampling(typical_p=0.5, top_n_sigma=1.0, xtc=Xtc(0.5, 0.1), mirostat=Mirostat(2), temperature_range=0.2)
    assert sent(sampling=sampling).ignored == ("typical_p", "top_n_sigma", "xtc", "mirostat", "dynatemp_range")
    assert sent(accent=OLLAMA, sampling=Sampling(top_k=40)).ignored == ("top_k",)
    assert sent(sampling=Sampling(typical_p=1.0, top_n_sigma=-1.0)).ignored == ()


def test_llama_cpp_is_told_all_its_samplers() -> None:
    said = body(accent=LLAMACPP, sampling=Sampling(typical_p=0.5, xtc=Xtc(0.5, 0.1), order=TEMPERATURE_FIRST))
    assert (said["typical_p"], said["xtc_probability"], said["repeat_last_n"]) == (0.5, 0.5, 100)
    assert said["samplers"][:4] == ["penalties", "dry", "temperature", "min_p"]


def test_llama_cpp_is_told_all_tokens_by_its_window() -> None:
    said = body(accent=LLAMACPP, sampling=Sampling(dry=Dry(1.0)))
    assert (said["repeat_last_n"], said["dry_penalty_last_n"]) == (100, 100)


def test_biases() -> None:
    assert body(sampling=Sampling(logit_bias={7: 2.0, 8: False}))["logit_bias"] == {"7": 2.0, "8": -100.0}
    with pytest.raises(Unsupported, match="bias"):
        body(sampling=Sampling(logit_bias={"word": 1.0}))


def test_endings() -> None:
    said = body(stop=("a",), stop_token_ids=(5,), min_tokens=2, ignore_eos=True, include_stop=True)
    assert (said["stop"], said["stop_token_ids"], said["min_tokens"], said["ignore_eos"]) == (["a"], [5], 2, True)
    assert said["include_stop_str_in_output"] is True
    for field in ({"stop_token_ids": (5,)}, {"min_tokens": 2}, {"ignore_eos": True}, {"include_stop": True}):
        with pytest.raises(Unsupported) as caught:
            body(accent=OLLAMA, **field)
        assert caught.value.param == next(iter(field))


def test_log_probabilities() -> None:
    assert body(top_logprobs=2)["logprobs"] == 2
    assert (body(CHAT, top_logprobs=2)["logprobs"], body(CHAT, top_logprobs=2)["top_logprobs"]) == (True, 2)
    assert body(prompt_logprobs=1)["prompt_logprobs"] == 1
    with pytest.raises(Unsupported):
        body(accent=OPENAI, prompt_logprobs=1)


def test_vllm_s_own_options() -> None:
    said = body(priority=3, cache_salt="s")
    assert (said["priority"], said["cache_salt"], said["return_token_ids"]) == (3, "s", True)
    assert body(cache_prompt=False)["cache_salt"] == "r"
    assert body(accent=LLAMACPP, cache_prompt=False)["cache_prompt"] is False
    assert "return_token_ids" not in body(accent=OPENAI)


@pytest.mark.parametrize(
    ("output", "wanted"),
    [
        (JsonSchema(SCHEMA), {"json": SCHEMA}),
        (JsonSchema(True), {"json": {}}),
        (AnyJson(), {"json_object": True}),
        (Regex("a+"), {"regex": "a+"}),
        (Choice(("a", "b")), {"choice": ["a", "b"]}),
        (Gbnf("root ::= x"), {"grammar": "root ::= x"}),
    ],
)
def test_every_format_in_vllm_s_fields(output: OutputFormat, wanted: dict[str, Any]) -> None:
    assert body(output=output)["structured_outputs"] == wanted


def test_formats_elsewhere() -> None:
    assert body(accent=OPENAI, output=AnyJson())["response_format"] == {"type": "json_object"}
    strict = {"name": "answer", "schema": SCHEMA, "strict": True}
    assert body(accent=OLLAMA, output=JsonSchema(SCHEMA))["response_format"] == {
        "type": "json_schema",
        "json_schema": strict,
    }
    assert body(accent=LLAMACPP, output=Gbnf("root ::= x"))["grammar"] == "root ::= x"
    assert body(accent=SGLANG, output=Regex("a"))["regex"] == "a"
    for output in (Regex("a"), Choice(("a",)), Gbnf("x"), JsonSchema(False)):
        with pytest.raises(Unsupported):
            body(accent=OPENAI, output=output)


def test_a_hole_where_the_server_knows_suffix() -> None:
    said = body(InfillPrompt("pre", "suf", start="st"), OLLAMA)
    assert (said["prompt"], said["suffix"]) == ("prest", "suf")
    with pytest.raises(Unsupported, match="fill in"):
        body(InfillPrompt("pre", "suf"), VLLM)
    with pytest.raises(Unsupported, match="fill in"):
        body(InfillPrompt("pre", "suf", extra=(("f", "x"),)), OLLAMA)


def test_what_no_server_can_do_is_refused_by_name() -> None:
    with pytest.raises(Unsupported) as caught:
        body(best_of=3)
    assert caught.value.param == "best_of"
    with pytest.raises(Unsupported, match="text only"):
        body(TextPrompt(((1, 2),)), OPENAI)


def test_an_accent_is_known_by_who_owns_the_models() -> None:
    names = {owner: accent_of(owner).name for owner in ("vllm", "sglang", "llamacpp", "library", "someone")}
    assert list(names.values()) == ["vllm", "sglang", "llamacpp", "ollama", "openai"]
    assert set(names.values()) == set(ACCENTS)
