"""Weights are read to the bit, and a folder that doesn't hold them is refused in one line."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from backends.engine.llama_config import read_config
from backends.engine.llama_loader import load_llama
from backends.engine.weights import Weights
from backends.errors import BackendFailed
from tests.backends.engine.random_model import config_of, random_weights, write_random_model


def write_raw(path: Path, tensors: dict[str, tuple[str, list[int], bytes]]) -> None:
    """A safetensors file by hand: name → dtype, shape, bytes."""
    header, data = {}, b""
    for name, (dtype, shape, content) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    written = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(written)) + written + data)


def refusal(folder: Path) -> str:
    with pytest.raises(BackendFailed) as refused:
        load_llama(read_config(folder), Weights(folder))
    assert "\n" not in refused.value.message
    return refused.value.message


@given(values=st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=50))
def test_bfloat16_is_the_upper_half_of_a_float32(tmp_path_factory: pytest.TempPathFactory, values: list[float]) -> None:
    folder = tmp_path_factory.mktemp("model")
    halves = b"".join(struct.pack("<f", value)[2:] for value in values)
    write_raw(folder / "model.safetensors", {"t": ("BF16", [len(values)], halves)})
    found = Weights(folder).take("t", len(values))
    expected = [struct.unpack("<f", b"\0\0" + halves[i : i + 2])[0] for i in range(0, len(halves), 2)]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.array(expected, np.float32))


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_fp16_and_fp32_are_read_as_they_are(tmp_path: Path, dtype: type[np.floating]) -> None:
    stored = np.random.default_rng(0).standard_normal((3, 5)).astype(dtype)
    save_file({"t": stored}, tmp_path / "model.safetensors")
    found = Weights(tmp_path).take("t", 3, 5)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, stored.astype(np.float32))


def test_what_is_taken_may_be_changed(tmp_path: Path) -> None:
    save_file({"t": np.ones(4, np.float32)}, tmp_path / "model.safetensors")
    weights = Weights(tmp_path)
    weights.take("t", 4)[:] = 7
    np.testing.assert_array_equal(weights.take("t", 4), np.ones(4, np.float32))


def test_tensors_are_found_in_whichever_shard_they_are(tmp_path: Path) -> None:
    for i in range(3):
        save_file({f"t{i}": np.full(2, i, np.float32)}, tmp_path / f"part-{i}.safetensors")
    index = {"metadata": {"total_size": 24}, "weight_map": {f"t{i}": f"part-{i}.safetensors" for i in range(3)}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    weights = Weights(tmp_path)
    assert [weights.take(f"t{i}", 2)[0] for i in range(3)] == [0, 1, 2]
    assert [path.name for path in weights.files] == [f"part-{i}.safetensors" for i in range(3)]


def test_the_type_is_that_of_most_elements(tmp_path: Path) -> None:
    save_file({"norm": np.ones(4, np.float32), "w": np.ones((4, 4), np.float16)}, tmp_path / "model.safetensors")
    weights = Weights(tmp_path)
    assert weights.dtype == "F16"
    assert weights.num_parameters == 20


def test_a_folder_without_safetensors_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config_of()))
    (tmp_path / "pytorch_model.bin").touch()
    assert refusal(tmp_path) == f"{tmp_path}: has no model.safetensors and no model.safetensors.index.json"


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config_of()))
    index = {"weight_map": {"t": "part-1.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert refusal(tmp_path) == f"{tmp_path}/part-1.safetensors: No such file or directory"


def test_an_index_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config_of()))
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    assert refusal(tmp_path) == f"{tmp_path}/model.safetensors.index.json: weight_map: Field required"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"version https://git-lfs.github.com/spec/v1\n" * 5, id="a Git LFS pointer"),
        pytest.param(struct.pack("<Q", 2) + b"[]", id="a header that is no object"),
        pytest.param(struct.pack("<Q", 13) + b'{"t": "text"}', id="an entry that is no object"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    path = write_random_model(tmp_path) / "model.safetensors"
    path.write_bytes(content)
    assert refusal(tmp_path) == f"{path}: isn't a safetensors file, or is damaged or incomplete"


@pytest.mark.parametrize("size", [0, 5, 100, -1], ids=["empty", "in its length", "in its header", "in its data"])
def test_a_file_that_was_cut_is_refused(tmp_path: Path, size: int) -> None:
    path = write_random_model(tmp_path) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    assert refusal(tmp_path) == f"{path}: isn't a safetensors file, or is damaged or incomplete"


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    weights = random_weights(config_of())
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, write_random_model(tmp_path) / "model.safetensors")
    assert refusal(tmp_path) == f"{tmp_path}: the weights have no 'model.layers.1.mlp.up_proj.weight'"


def test_a_tensor_of_another_shape_than_the_config_says_is_refused_with_both(tmp_path: Path) -> None:
    write_random_model(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config_of(num_key_value_heads=1)))
    expected = "'model.layers.0.self_attn.k_proj.weight' is [32, 96], but config.json says [16, 96]"
    assert refusal(tmp_path) == f"{tmp_path}: {expected}"


def test_a_type_that_cannot_be_run_is_named(tmp_path: Path) -> None:
    weights = random_weights(config_of())
    rounded = {name: tensor.astype(np.int8) if "mlp" in name else tensor for name, tensor in weights.items()}
    save_file(rounded, write_random_model(tmp_path) / "model.safetensors")
    expected = "'model.layers.0.mlp.gate_proj.weight' is I8, but only bf16, fp16 and fp32 can be run"
    assert refusal(tmp_path) == f"{tmp_path}: {expected}"


def test_a_tensor_that_the_architecture_has_no_place_for_is_refused(tmp_path: Path) -> None:
    weights = random_weights(config_of())
    weights["model.layers.0.self_attn.sinks"] = np.ones(4, np.float32)
    save_file(weights, write_random_model(tmp_path) / "model.safetensors")
    expected = "'model.layers.0.self_attn.sinks' has no place in a model of this architecture"
    assert refusal(tmp_path) == f"{tmp_path}: {expected}"


def test_an_output_layer_beside_tied_embeddings_is_ignored_as_transformers_does(tmp_path: Path) -> None:
    weights = random_weights(config_of())
    weights["lm_head.weight"] = np.ones((80, 96), np.float32)
    weights["model.layers.0.self_attn.rotary_emb.inv_freq"] = np.ones(8, np.float32)
    save_file(weights, write_random_model(tmp_path) / "model.safetensors")
    load_llama(read_config(tmp_path), Weights(tmp_path))
