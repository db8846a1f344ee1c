"""What a folder says of its model."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from backends.engine.model_info import digest, read_generation_defaults, read_model_info
from backends.errors import BackendFailed
from tests.backends.engine.random_model import write_random_model

REFERENCES = Path(__file__).parent / "reference_models"
MIB = 1 << 20


def test_sizes_come_from_config_and_weights(tmp_path: Path) -> None:
    info = read_model_info(write_random_model(tmp_path, window=512))
    file = tmp_path / "model.safetensors"
    per_layer = 96 * (2 + 64 + 32 + 32 + 64 + 3 * 96)
    assert info.num_parameters == 2 * per_layer + 96 + 80 * 96
    assert info.size_bytes == file.stat().st_size
    assert info.modified_at == file.stat().st_mtime
    assert info.path == str(tmp_path)
    assert (info.family, info.quantization) == ("llama", "F32")
    assert (info.vocab_size, info.hidden_size, info.window, info.trained_window) == (80, 96, 512, 512)


def test_shards_count_together() -> None:
    folder = REFERENCES / "llama_sharded_linear_rope"
    shards = sorted(folder.glob("model-*.safetensors"))
    info = read_model_info(folder)
    assert info.quantization == "F16"
    assert info.size_bytes == sum(shard.stat().st_size for shard in shards)
    assert (info.window, info.trained_window) == (256, 64)


@pytest.mark.parametrize(
    ("model", "family", "quantization"),
    [
        ("llama_tied", "llama", "BF16"),
        ("llama_biases_llama3_rope", "llama", "F32"),
        ("mistral_sliding_window", "mistral", "BF16"),
        ("qwen2_yarn_mixed_windows", "qwen2", "BF16"),
        ("qwen3_yarn", "qwen3", "BF16"),
    ],
)
def test_family_and_type_of_weights_are_told(model: str, family: str, quantization: str) -> None:
    info = read_model_info(REFERENCES / model)
    assert (info.family, info.quantization) == (family, quantization)


def test_the_digest_of_one_file_is_its_sha256(tmp_path: Path) -> None:
    info = read_model_info(write_random_model(tmp_path))
    assert info.digest == hashlib.sha256((tmp_path / "model.safetensors").read_bytes()).hexdigest()


def test_the_digest_of_a_huge_file_depends_on_its_size_its_beginning_and_its_end(tmp_path: Path) -> None:
    def of(size: int, *bytes_at: int) -> str:
        path = tmp_path / "huge"
        with path.open("wb") as file:
            file.truncate(size)
            for position in bytes_at:
                file.seek(position)
                file.write(b"x")
        return digest([path])

    plain = of(100 * MIB)
    assert len(plain) == 64
    assert plain == of(100 * MIB)
    assert len({plain, of(100 * MIB + 1), of(100 * MIB, 0), of(100 * MIB, 100 * MIB - 1)}) == 4


def test_sampling_defaults_are_the_models_own(tmp_path: Path) -> None:
    written = {"do_sample": True, "temperature": 0.7, "top_k": 20, "top_p": 0.8, "repetition_penalty": 1.05}
    others = {"eos_token_id": [2, 0], "pad_token_id": 0, "transformers_version": "5.0", "min_p": None}
    (tmp_path / "generation_config.json").write_text(json.dumps({**written, **others}))
    del written["do_sample"]
    assert read_generation_defaults(tmp_path) == written


def test_a_model_that_says_it_does_not_sample_is_greedy(tmp_path: Path) -> None:
    (tmp_path / "generation_config.json").write_text('{"do_sample": false, "max_new_tokens": 2048}')
    assert read_generation_defaults(tmp_path) == {"temperature": 0.0}


def test_a_model_without_generation_config_has_no_defaults(tmp_path: Path) -> None:
    assert read_generation_defaults(tmp_path) == {}


def test_a_malformed_generation_config_is_refused_by_field(tmp_path: Path) -> None:
    (tmp_path / "generation_config.json").write_text('{"temperature": "warm"}')
    with pytest.raises(BackendFailed, match=r"generation_config\.json: temperature: Input should be a valid number"):
        read_generation_defaults(tmp_path)


def test_a_folder_that_cannot_be_run_has_no_info(tmp_path: Path) -> None:
    save_file({"t": np.ones(1, np.float32)}, tmp_path / "model.safetensors")
    with pytest.raises(BackendFailed, match=r"config\.json"):
        read_model_info(tmp_path)
