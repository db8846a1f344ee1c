"""The fields of llama.cpp's requests: defaults, limits, names, types, and what they ask of a sampler."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.llamacpp.dialect import DIALECT
from adapters.llamacpp.errors import Refusal
from adapters.llamacpp.fields import SAMPLERS, Fields
from adapters.llamacpp.sampling import to_sampling
from adapters.llamacpp.settings import brief_settings, generation_settings
from backends.request import AnyJson, Dry, Gbnf, JsonSchema, Mirostat, Xtc
from tests.adapters.llamacpp_tools import ask, keys, models_of, parsed, recorded_events, refusal
from tests.fakes import ScriptedBackend, call

EARLY_2024 = ("n_ctx", "model", "tfs_z", "penalize_nl")


def read(**body: Any) -> Fields:
    return Fields.read(body, num_slots=8)


def complaint(**body: Any) -> str:
    with pytest.raises(Refusal) as caught:
        read(**body)
    return caught.value.message


def test_defaults_are_the_servers() -> None:
    told = recorded_events("cmpl_stream")[-1]["generation_settings"]
    ours = generation_settings(read(n_predict=6, temperature=0, seed=42, stream=True), window=2048, model="tiny")
    assert {key: value for key, value in ours.items() if key not in EARLY_2024} == told
    assert keys(ours, but=EARLY_2024) == keys(told)


def test_settings_of_early_2024_come_after_todays() -> None:
    settings = generation_settings(Fields(), window=2048, model="tiny")
    assert list(settings)[-4:] == list(EARLY_2024)
    assert (settings["n_ctx"], settings["model"], settings["penalize_nl"]) == (2048, "tiny", False)


def test_brief_settings_leave_out_what_is_long() -> None:
    assert "grammar" not in brief_settings(Fields(), "none")
    assert brief_settings(Fields(), "none")["reasoning_format"] == "none"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            {"n_predict": -2},
            "Field 'n_predict': Value must be between -1 <= value <= 2147483647, but got -2",
        ),
        (
            {"repeat_last_n": -2},
            "Field 'repeat_last_n': Value must be between 0 <= value <= 2147483647, but got -2",
        ),
        ({"n": 99}, "Field 'n': Value must be between 1 <= value <= 8, but got 99"),
        ({"n_cmpl": 0}, "Field 'n_cmpl': Value must be between 1 <= value <= 8, but got 0"),
        (
            {"adaptive_decay": 1.5},
            "Field 'adaptive_decay': Value must be between 0.000000 <= value <= 0.990000, but got 1.500000",
        ),
        (
            {"n_predict": "8"},
            "Field 'n_predict': [json.exception.type_error.302] type must be number, but is string",
        ),
        (
            {"max_tokens": []},
            "Field 'max_tokens': [json.exception.type_error.302] type must be number, but is array",
        ),
        ({"stream": 1}, "Field 'stream': [json.exception.type_error.302] type must be boolean, but is number"),
        ({"stop": [5]}, "Field 'stop': [json.exception.type_error.302] type must be string, but is number"),
        (
            {"dry_sequence_breakers": []},
            "Field 'dry_sequence_breakers': Error: dry_sequence_breakers must be a non-empty array of strings",
        ),
    ],
)
def test_hard_limits_and_wrong_types_refuse_in_the_servers_words(body: dict[str, Any], message: str) -> None:
    assert complaint(**body) == message


def test_soft_limits_move_the_value() -> None:
    fields = read(temperature=-1, top_p=7, min_p=-3, top_k=-5, mirostat=9, xtc_probability=2)
    assert (fields.temperature, fields.top_p, fields.min_p) == (0, 1, 0)
    assert (fields.top_k, fields.mirostat, fields.xtc_probability) == (0, 2, 1)


def test_null_is_absent_and_floats_are_ints() -> None:
    assert read(n_predict=None, stop=None, samplers=None, temperature=None) == Fields()
    assert read(n_predict=16.0).n_predict == 16


def test_the_first_name_that_is_present_counts() -> None:
    assert read(n_predict=3, max_completion_tokens=5, max_tokens=7).n_predict == 3
    assert read(max_completion_tokens=5, max_tokens=7).n_predict == 5
    assert read(n_predict=None, max_tokens=7).n_predict == 7
    assert read(n_probs=2, logprobs=5).n_probs == 2
    assert read(n_cmpl=2, n=3).n_cmpl == 2


def test_stop_in_every_form() -> None:
    assert read(stop="a").stop == ("a",)
    assert read(stop=["a", None, "b"]).stop == ("a", "b")
    assert read(stop=5).stop == ()


def test_samplers_by_name_alias_and_letter() -> None:
    assert read(samplers=["top-k", "TEMP", "nucleus", "who?"]).samplers == ("top_k", "temperature", "top_p")
    assert read(samplers="kt?").samplers == ("top_k", "temperature")
    assert read(samplers=[]).samplers == ()


@pytest.mark.parametrize("form", [[[5, -1.5], ["ab", False], [7, True], [8], "x"], {"5": -1.5, "ab": False, "7": True}])
def test_logit_bias_in_both_forms(form: object) -> None:
    assert read(logit_bias=form).logit_bias == ((5, -1.5), ("ab", -math.inf))


def test_a_ban_reaches_the_sampler_and_is_told_back_as_null() -> None:
    fields = read(logit_bias=[[5, False], [300, 1], ["ab", 2]])
    assert to_sampling(fields, 258).logit_bias == {5: False, "ab": 2.0}
    assert to_sampling(fields, 0).logit_bias == {5: False, 300: 1.0, "ab": 2.0}
    told = generation_settings(fields, window=1, model="m")["logit_bias"]
    assert told == [{"bias": None, "token": 5}, {"bias": 1.0, "token": 300}]


def test_a_grammar_wins_over_a_schema() -> None:
    assert read(grammar='root ::= "a"', json_schema={"type": "object"}).output == Gbnf('root ::= "a"')
    assert read(json_schema={"type": "object"}).output == JsonSchema({"type": "object"})
    assert read(json_schema={}).output == AnyJson()
    assert read(grammar="").output is None
    assert "json_schema" in complaint(json_schema="x")


def test_default_sampling() -> None:
    sampling = to_sampling(Fields(), 0)
    assert (sampling.temperature, sampling.top_k, sampling.top_p, sampling.min_p) == (0.8, 40, 0.95, 0.05)
    assert (sampling.typical_p, sampling.top_n_sigma, sampling.dry, sampling.xtc) == (1.0, None, None, None)
    assert (sampling.repetition_penalty, sampling.penalty_window, sampling.seed) == (1.0, 64, None)


def test_a_sampler_that_is_not_named_does_not_apply() -> None:
    sampling = to_sampling(read(samplers=["top_k"], top_k=5, temperature=0, repeat_penalty=2), 0)
    assert (sampling.temperature, sampling.top_k, sampling.top_p, sampling.min_p) == (1.0, 5, 1.0, 0.0)
    assert sampling.repetition_penalty is None


def test_penalties_without_a_window_are_off() -> None:
    assert to_sampling(read(repeat_last_n=0, repeat_penalty=2), 0).repetition_penalty is None


def test_minus_one_looks_back_at_everything() -> None:
    sampling = to_sampling(read(repeat_last_n=-1, dry_multiplier=0.5, dry_penalty_last_n=-1), 0)
    assert sampling.penalty_window == -1
    assert sampling.dry
    assert sampling.dry.window == -1


def test_dry_and_xtc() -> None:
    fields = read(dry_multiplier=0.75, dry_base=0.5, dry_penalty_last_n=9, xtc_probability=0.5, xtc_threshold=0.25)
    sampling = to_sampling(fields, 0)
    assert sampling.dry == Dry(0.75, 1.75, 2, 9, ("\n", ":", '"', "*"))
    assert sampling.xtc == Xtc(0.5, 0.25)
    assert to_sampling(read(xtc_probability=0.5, xtc_threshold=0.75), 0).xtc is None


def test_the_samplers_act_in_the_order_in_which_they_are_named() -> None:
    sampling = to_sampling(read(samplers=["temperature", "typ_p", "top_k", "dry", "infill"]), 0)
    assert sampling.order == ("temperature", "typical_p", "top_k")


def test_mirostat_takes_the_place_of_the_chain() -> None:
    sampling = to_sampling(read(mirostat=2, mirostat_tau=4, mirostat_eta=0.25, top_k=5, temperature=0.75), 0)
    assert sampling.mirostat == Mirostat(2, 4.0, 0.25)
    assert (sampling.top_k, sampling.temperature) == (0, 0.75)


def test_seeds_wrap_as_in_32_bits() -> None:
    assert to_sampling(read(seed=-1), 0).seed is None
    assert to_sampling(read(seed=4294967295), 0).seed is None
    assert to_sampling(read(seed=-2), 0).seed == 4294967294


async def test_lengths_and_deadlines_reach_the_backend() -> None:
    request = await parsed("completion", {"prompt": "a"})
    assert (request.max_tokens, request.deadline_s, request.top_logprobs) == (None, None, None)
    request = await parsed("completion", {"prompt": "a", "n_predict": 0, "t_max_predict_ms": 1500, "n_probs": 3})
    assert (request.max_tokens, request.deadline_s, request.top_logprobs) == (1, 1.5, 3)
    assert (await parsed("completion", {"prompt": "a", "stop": ["", "x"]})).stop == ("x",)


@pytest.mark.parametrize(
    ("value", "least", "told"),
    [(1e10, -1, "-2147483648"), (2**32 + 5, None, None), (-1e300, -1, "-2147483648"), (2**31, -1, "-2147483648")],
)
def test_numbers_are_cast_as_the_server_casts_them(value: float, least: int | None, told: str | None) -> None:
    if told is None:
        assert read(n_predict=value).n_predict == 5
        return
    limits = f"Value must be between {least} <= value <= 2147483647, but got {told}"
    with pytest.raises(Refusal, match=re.escape(f"Field 'n_predict': {limits}")):
        read(n_predict=value)


@pytest.mark.parametrize(
    ("field", "value", "fault"),
    [
        ("verbose", 1, "[json.exception.type_error.302] type must be boolean, but is number"),
        ("lora", {}, "Error: 'lora' must be an array of objects with 'id' and 'scale' fields"),
        ("reasoning_format", "x", "Unknown reasoning format: x"),
        ("grammar_triggers", ["a"], "[json.exception.type_error.304] cannot use at() with string"),
        ("preserved_tokens", [1], "[json.exception.type_error.302] type must be string, but is number"),
        ("t_max_predict_ms", True, "[json.exception.type_error.302] type must be number, but is boolean"),
        (
            "json_schema",
            True,
            '"json_schema": JSON schema conversion failed:\nJSON schema error at #: schema must be an object',
        ),
    ],
)
def test_what_has_no_effect_is_checked_all_the_same(field: str, value: object, fault: str) -> None:
    with pytest.raises(Refusal, match=re.escape(f"Field '{field}': {fault}")):
        read(**{field: value})


async def test_what_the_server_tells_back() -> None:
    told = generation_settings(
        read(lora=[{"id": 0, "scale": 0.5}, 5], reasoning_format="none", generation_prompt="x", dry_base=0.5),
        window=2048, model="tiny",
    )  # fmt: skip
    assert told["lora"] == [{"id": 0, "scale": 0.5}, {"id": -1, "scale": 0.0}]
    assert (told["reasoning_format"], told["generation_prompt"], told["dry_base"]) == ("none", "x", 1.75)


async def test_a_text_is_biased_by_its_tokens() -> None:
    told = await ask("completion", {"prompt": "a", "logit_bias": {"hi": -1, "99999": 1}})
    assert told["generation_settings"]["logit_bias"] == [{"bias": -1.0, "token": 104}, {"bias": -1.0, "token": 105}]


@pytest.mark.parametrize("penalty", [0, -1])
async def test_a_penalty_has_to_be_positive(penalty: float) -> None:
    told = "Failed to initialize samplers: penalty_repeat must be finite and greater than 0"
    assert (await refusal("completion", {"prompt": "a", "repeat_penalty": penalty}))[2] == told


async def test_what_has_no_effect_is_named() -> None:
    asked = call("POST", "/completion", {
        "prompt": "a", "id_slot": 3, "n_keep": 1, "banana": 1, "top_k": 5, "model": "x", "lora": None,
        "samplers": ["temperature", "top_k"], "post_sampling_probs": True,
    }, models=models_of(ScriptedBackend()))  # fmt: skip
    await DIALECT.verbs["completion"](asked)
    assert asked.ignored == ["id_slot", "n_keep", "banana", "post_sampling_probs"]


async def test_the_prompt_is_judged_before_the_fields() -> None:
    assert (await refusal("completion", {"n_predict": -2}))[2].endswith("key 'prompt' not found")


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats(-1e9, 1e9)
    | st.sampled_from(["", "a", "top_k"])
)
json_values = (
    scalars | st.lists(scalars, max_size=3) | st.dictionaries(st.sampled_from(["5", "-1", "--5", "a"]), scalars)
)
NAMES = [*Fields.__dataclass_fields__, "n", "max_tokens", "max_completion_tokens", "logprobs", "grammar", "json_schema"]


@given(st.dictionaries(st.sampled_from(NAMES), json_values, max_size=5))
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_json_is_read_or_refused_by_name(body: dict[str, Any]) -> None:
    try:
        fields = Fields.read(body, num_slots=8)
    except Refusal as refused:
        names = [name for name in body if f"'{name}'" in refused.message]
    else:
        names = ["none"]
        assert 0 <= fields.top_p <= 1
        assert fields.n_predict >= -1
        assert set(fields.samplers) <= {*SAMPLERS, "infill", "adaptive_p"}
        to_sampling(fields, 100)
    assert names
