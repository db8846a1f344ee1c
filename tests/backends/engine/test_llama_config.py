"""config.json in every spelling that is about, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from backends.engine.llama_config import LlamaConfig, read_config
from backends.engine.rope import LinearScaling, Llama3Scaling, YarnScaling
from backends.errors import BackendFailed
from tests.backends.engine.random_model import config_of


@pytest.fixture
def read(tmp_path: Path) -> Any:
    def read_differing(*without: str, **differences: Any) -> LlamaConfig:
        written = {name: value for name, value in config_of(**differences).items() if name not in without}
        (tmp_path / "config.json").write_text(json.dumps(written))
        return read_config(tmp_path)

    return read_differing


def test_the_older_and_the_newer_spelling_of_rope_mean_the_same(read: Any) -> None:
    scaling = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 128}
    older = read(rope_theta=5e5, rope_scaling={"type": "llama3", **scaling})
    newer = read("rope_theta", rope_parameters={"rope_type": "llama3", "rope_theta": 5e5, **scaling})
    assert older == newer
    assert newer.rope_theta == 5e5
    assert newer.rope_scaling == Llama3Scaling(8.0, 128, 1.0, 4.0)


def test_without_a_word_rope_is_plain_and_its_base_10000(read: Any) -> None:
    config = read("rope_theta")
    assert (config.rope_theta, config.rope_scaling) == (10_000.0, None)
    assert read(rope_scaling=None) == read(rope_scaling={"rope_type": "default"}) == config


def test_linear_scaling_widens_the_window(read: Any) -> None:
    config = read(rope_scaling={"type": "linear", "factor": 4.0})
    assert config.rope_scaling == LinearScaling(4.0)
    assert (config.window, config.trained_window) == (2048, 512)


@pytest.mark.parametrize("max_positions", [512, 2048])
def test_yarn_widens_the_window_whichever_of_the_two_is_written(read: Any, max_positions: int) -> None:
    scaling = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512}
    assert read(window=max_positions, rope_scaling=scaling).window == 2048


def test_yarn_has_the_papers_attention_factor_unless_another_is_written(read: Any) -> None:
    def factor(**others: float) -> float:
        scaling = read(rope_scaling={"rope_type": "yarn", "factor": 4.0, **others}).rope_scaling
        assert isinstance(scaling, YarnScaling)
        return scaling.attention_factor

    assert factor() == pytest.approx(1.1386294)  # 0.1 ln 4 + 1
    assert factor(attention_factor=1.5) == 1.5
    assert factor(mscale=2.0, mscale_all_dim=1.0) == pytest.approx(1.2772589 / 1.1386294)


def test_key_value_heads_and_head_size_follow_from_others_when_they_are_not_said(read: Any) -> None:
    config = read("num_key_value_heads", "head_dim")
    assert (config.num_kv_heads, config.head_dim) == (4, 24)
    assert read(head_dim=None, num_key_value_heads=None) == config


def test_every_mistral_layer_slides_unless_its_window_is_null(read: Any) -> None:
    mistral = {"model_type": "mistral", "architectures": ["MistralForCausalLM"]}
    assert read(**mistral, sliding_window=100).attention_windows == (100, 100)
    assert read(**mistral, sliding_window=None).attention_windows == (None, None)
    assert read(**mistral).attention_windows == (4096, 4096)


def test_qwen_layers_slide_only_where_it_is_switched_on(read: Any) -> None:
    qwen = {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "sliding_window": 100}
    assert read(**qwen).attention_windows == (None, None)
    assert read(**qwen, use_sliding_window=True, max_window_layers=1).attention_windows == (None, 100)
    kinds = ["sliding_attention", "full_attention"]
    assert read(**qwen, use_sliding_window=True, layer_types=kinds).attention_windows == (100, None)


REFUSALS: list[tuple[dict[str, Any], str]] = [
    (
        {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]},
        "GPT2LMHeadModel can't be run; LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM can",
    ),
    (
        {"model_type": "qwen2", "architectures": ["Qwen2ForSequenceClassification"]},
        "Qwen2ForSequenceClassification can't be run; "
        "LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM can",
    ),
    (
        {"quantization_config": {"quant_method": "gptq", "bits": 4}},
        "weights quantized by the method 'gptq' can't be run; bf16, fp16 and fp32 can",
    ),
    ({"hidden_act": "gelu"}, "the activation 'gelu' can't be run; silu can"),
    (
        {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}},
        "rope scaling of the type 'dynamic' can't be run; linear, llama3 and yarn can",
    ),
    ({"rope_scaling": {"rope_type": "linear"}}, "rope scaling lacks 'factor'"),
    (
        {"rope_parameters": {"full_attention": {"rope_type": "default"}}},
        "rope parameters that differ between layers can't be run",
    ),
    (
        {"partial_rotary_factor": 0.5},
        "rotating only a part of each head (partial_rotary_factor) can't be run",
    ),
    ({"num_key_value_heads": 3}, "4 attention heads can't share 3 key-value heads"),
    ({"head_dim": 15}, "heads of 15 dimensions can't be rotated in pairs"),
    ({"hidden_size": "wide"}, "hidden_size: Input should be a valid integer, unable to parse string as an integer"),
    ({"vocab_size": 0}, "vocab_size: Input should be greater than 0"),
]


@pytest.mark.parametrize(("differences", "reason"), REFUSALS, ids=lambda value: value if isinstance(value, str) else "")
def test_what_cannot_be_run_is_refused_in_one_line(
    read: Any, tmp_path: Path, differences: dict[str, Any], reason: str
) -> None:
    with pytest.raises(BackendFailed) as refused:
        read(**differences)
    assert refused.value.message == f"{tmp_path}/config.json: {reason}"


def test_a_config_that_is_no_json_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(BackendFailed, match=r"config\.json: Invalid JSON") as refused:
        read_config(tmp_path)
    assert "\n" not in refused.value.message


def test_a_missing_field_is_named(read: Any) -> None:
    with pytest.raises(BackendFailed, match=r"config\.json: intermediate_size: Field required"):
        read("intermediate_size")
