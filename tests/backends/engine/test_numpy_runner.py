"""The numpy runner: right by an independent reference, and the same whatever the engine does around a sequence."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from backends.engine.mean_pooling import MeanPooling
from backends.engine.numpy_runner import NumpyRunner
from backends.engine.projection import is_exact
from backends.engine.runner import Floats, Ints, PrefillRow
from backends.errors import BackendFailed
from tests.backends.engine.random_model import write_random_model

REFERENCES = sorted((Path(__file__).parent / "reference_models").iterdir())
LONG_PROMPT = 300
BLOCK_SIZE = 16


@pytest.fixture(params=REFERENCES, ids=lambda folder: folder.name)
def reference_model(request: pytest.FixtureRequest) -> Path:
    folder: Path = request.param
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wide enough for every kind of product: more than one slab, and more summands than are added up at once."""
    return write_random_model(tmp_path_factory.mktemp("model"), intermediate_size=1100, window=4096)


def loaded(folder: Path, num_blocks: int = 256, block_size: int = BLOCK_SIZE) -> NumpyRunner:
    runner = NumpyRunner.load(folder, max_batch_size=32)
    runner.allocate_kv(num_blocks, block_size)
    return runner


def table(*, first: int = 0, length: int = 64) -> Ints:
    """In no order that could help."""
    return (np.random.default_rng(first).permutation(length) + first).astype(np.int32)


def random_tokens(length: int, seed: int = 0) -> Ints:
    return np.random.default_rng(seed).integers(0, 40, length).astype(np.int32)


def prefill(runner: NumpyRunner, tokens: Ints, blocks: Ints, start: int = 0) -> Floats:
    """Logits of every token."""
    return runner.prefill([PrefillRow(tokens, start, blocks, slot=0, all_logits=True)])[0]


def decode(runner: NumpyRunner, tokens: Ints, blocks: Ints, start: int) -> Floats:
    """One after the other, from the cache as it is."""
    steps = [runner.decode(tokens[i : i + 1], np.array([start + i], np.int32), [blocks])[0] for i in range(len(tokens))]
    return np.stack(steps)


def assert_same(found: Floats, expected: Floats, runner: NumpyRunner) -> None:
    """The same bits, where this machine's BLAS can promise them."""
    assert found.dtype == expected.dtype == np.float32
    if all(is_exact(runner.tiling, *shape) for shape in ((1024, 64), (64, 64), (16, 16), (64, 16))):
        np.testing.assert_array_equal(found, expected)
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


# Right


def test_logits_are_those_of_transformers(reference_model: Path) -> None:
    reference = load_file(reference_model / "reference.safetensors")
    logits = prefill(loaded(reference_model), reference["tokens"], table())
    assert np.abs(logits - reference["logits"]).max() <= 1e-4 * np.abs(reference["logits"]).max()


def test_decoded_logits_are_those_of_transformers(reference_model: Path) -> None:
    reference = load_file(reference_model / "reference.safetensors")
    logits = decode(loaded(reference_model), reference["tokens"], table(), start=0)
    assert np.abs(logits - reference["logits"]).max() <= 1e-4 * np.abs(reference["logits"]).max()


def test_an_embedding_is_the_mean_of_transformers_last_hidden_states(reference_model: Path) -> None:
    reference = load_file(reference_model / "reference.safetensors")
    runner = loaded(reference_model)
    pooling = MeanPooling()
    for start, stop in ((0, 16), (16, len(reference["tokens"]))):
        row = PrefillRow(reference["tokens"][start:stop], start, table(), slot=0, hidden_states=True)
        pooling.add(start, runner.prefill([row])[0])
    embedding = pooling.vector
    assert embedding.dtype == np.float32
    np.testing.assert_allclose(embedding, reference["embedding"], rtol=1e-3, atol=1e-4)


# The same


@settings(max_examples=30)
@given(
    block_size=st.sampled_from([1, 8, 16, 24, 64, 128]),
    cuts=st.sets(st.integers(1, LONG_PROMPT - 1), max_size=6),
    seed=st.integers(0, 99),
)
def test_a_prompt_gives_the_same_bits_in_any_chunks_and_blocks(
    model: Path, block_size: int, cuts: set[int], seed: int
) -> None:
    tokens = random_tokens(LONG_PROMPT)
    runner = loaded(model, num_blocks=512, block_size=block_size)
    expected = prefill(runner, tokens, np.arange(512, dtype=np.int32))
    blocks = np.random.default_rng(seed).permutation(512).astype(np.int32)
    edges = [0, *sorted(cuts), LONG_PROMPT]
    parts = [prefill(runner, tokens[start:stop], blocks, start) for start, stop in pairwise(edges)]
    assert_same(np.concatenate(parts), expected, runner)


def test_decoding_gives_the_same_bits_as_prefilling(reference_model: Path) -> None:
    runner = loaded(reference_model)
    tokens = random_tokens(60)
    expected = prefill(runner, tokens, table())
    prefill(runner, tokens[:7], table(first=100))
    assert_same(decode(runner, tokens[7:], table(first=100), start=7), expected[7:], runner)


@settings(max_examples=15)
@given(lengths=st.lists(st.integers(1, LONG_PROMPT), min_size=1, max_size=32), seed=st.integers(0, 1 << 30))
def test_a_sequence_gives_the_same_bits_alone_and_among_31_others(model: Path, lengths: list[int], seed: int) -> None:
    runner = loaded(model, num_blocks=32 * 20)
    tables = [table(first=20 * i, length=20) for i in range(len(lengths))]
    prompts = [random_tokens(length, seed + i) for i, length in enumerate(lengths)]
    alone = [prefill(runner, tokens, blocks)[-1] for tokens, blocks in zip(prompts, tables, strict=True)]

    runner = loaded(model, num_blocks=32 * 20)
    heads = [PrefillRow(tokens[:-1], 0, blocks, 0) for tokens, blocks in zip(prompts, tables, strict=True)]
    runner.prefill([row for row in heads if len(row.tokens)])
    last = np.array([tokens[-1] for tokens in prompts], np.int32)
    together = runner.decode(last, np.array(lengths, np.int32) - 1, tables)
    assert_same(together, np.stack(alone), runner)


def test_prompts_give_the_same_bits_when_prefilled_together(model: Path) -> None:
    runner = loaded(model)
    lengths = [3, 280, 1, 17, 64, 255]
    tables = [table(first=40 * i, length=40) for i in range(len(lengths))]
    rows = [
        PrefillRow(random_tokens(length, length), 0, blocks, 0, all_logits=length > 16)
        for length, blocks in zip(lengths, tables, strict=True)
    ]
    alone = [runner.prefill([row])[0] for row in rows]
    together = runner.prefill(rows)
    assert [len(logits) for logits in together] == [1, 280, 1, 17, 64, 255]
    for found, expected in zip(together, alone, strict=True):
        assert_same(found, expected, runner)


def test_what_others_left_in_the_blocks_makes_no_difference(model: Path) -> None:
    runner = loaded(model, num_blocks=8)
    tokens = random_tokens(70)
    expected = prefill(runner, tokens, table(length=8))
    prefill(runner, random_tokens(128, seed=1), table(length=8))
    assert_same(prefill(runner, tokens, table(length=8)), expected, runner)
    assert_same(decode(runner, tokens[-1:], table(length=8), start=69)[0], expected[-1], runner)


def test_hidden_states_are_the_same_in_any_company(model: Path) -> None:
    runner = loaded(model)
    tokens = random_tokens(300)
    rows = [
        PrefillRow(tokens, 0, table(first=0), slot=0, hidden_states=True),
        PrefillRow(tokens[:70], 0, table(first=64), slot=1),
        PrefillRow(tokens[:40], 0, table(first=128), slot=2, hidden_states=True),
    ]
    together = runner.prefill(rows)
    assert [len(found) for found in together] == [300, 1, 40]
    for row, found in zip(rows, together, strict=True):
        assert_same(found, runner.prefill([row])[0], runner)


def test_a_call_may_be_ended_at_any_of_its_parts_and_made_again(model: Path) -> None:
    runner, tokens, others = loaded(model), random_tokens(40), random_tokens(30, seed=1)
    expected = prefill(runner, tokens, table())
    num_parts = 2 * runner._network.config.num_layers

    def end_at_part(number: int, call: Callable[..., Floats], *args: Any) -> None:
        runner.between_parts = partial(next, iter(range(number)))
        with pytest.raises(StopIteration):
            call(runner, *args)
        runner.between_parts = lambda: None
        prefill(runner, others, table(first=64))

    for number in range(num_parts):
        runner = loaded(model)
        end_at_part(number, prefill, tokens[:39], table())
        first = prefill(runner, tokens[:39], table())
        end_at_part(number, decode, tokens[39:], table(), 39)
        assert_same(np.concatenate((first, decode(runner, tokens[39:], table(), 39))), expected, runner)


def test_logits_belong_to_the_caller(model: Path) -> None:
    runner = loaded(model)
    prefilled = prefill(runner, random_tokens(20), table())
    decoded = decode(runner, random_tokens(1), table(), start=20)
    before = prefilled.copy(), decoded.copy()
    prefill(runner, random_tokens(20, seed=1), table())
    decode(runner, random_tokens(1, seed=1), table(), start=20)
    np.testing.assert_array_equal(prefilled, before[0])
    np.testing.assert_array_equal(decoded, before[1])


# Bounded


def test_a_long_prompt_never_has_all_its_scores_in_memory(model: Path) -> None:
    """2,048 tokens of 4 heads have 67 MB of scores a layer."""
    runner = loaded(model)
    tokens = random_tokens(2048)
    tracemalloc.start()
    runner.prefill([PrefillRow(tokens, 0, table(length=128), 0)])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12e6


def test_a_token_outside_the_vocabulary_is_an_error_and_not_another_token(model: Path) -> None:
    with pytest.raises(IndexError):
        prefill(loaded(model), np.array([1, 100_000], np.int32), table())


def test_nothing_runs_before_there_is_a_cache(model: Path) -> None:
    runner = NumpyRunner.load(model, max_batch_size=1)
    with pytest.raises(RuntimeError, match="allocate_kv"):
        prefill(runner, random_tokens(3), table())


def test_closing_twice_is_safe(model: Path) -> None:
    runner = loaded(model)
    runner.close()
    runner.close()


def test_what_the_engine_may_ask_of_it(reference_model: Path) -> None:
    runner = NumpyRunner.load(reference_model, max_batch_size=5)
    windows = {"llama_sharded_linear_rope": 256, "llama_biases_llama3_rope": 64}
    assert (runner.vocab_size, runner.max_batch_size) == (50, 5)
    assert runner.window == windows.get(reference_model.name, 64)


def test_a_folder_that_is_none_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(BackendFailed, match=r"config\.json: No such file") as refused:
        NumpyRunner.load(tmp_path, max_batch_size=1)
    assert "\n" not in refused.value.message
