"""The bare numpy runner, with nothing around it: how fast it decodes and prefills, and what that is of the possible.

    python -m bench.runner [folder of a Hugging Face model]

Tokens are counted per second of the processor's time, since the machine may have others to serve; of several repeats
the best one counts. `of the products`: the time that numpy takes for the same matrix products alone, with the whole
weights and no attention, over the time that the runner takes for everything. Above 1, the runner is faster than that.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy is imported

import numpy as np

from backends.engine import demo
from backends.engine.llama_config import LlamaConfig, read_config
from backends.engine.numpy_runner import NumpyRunner
from backends.engine.runner import Ints, PrefillRow

BLOCK_SIZE = 16
MAX_BATCH_SIZE = 32
REPEATS = 7


def best_s(run: Callable[[], object], seconds: float = 0.2) -> float:
    """CPU seconds of one call: the best average of several repeats, each of which takes about so many seconds."""
    began = time.process_time()
    run()
    count = max(1, round(seconds / max(time.process_time() - began, 1e-6)))
    best = float("inf")
    for _ in range(REPEATS):
        began = time.process_time()
        for _ in range(count):
            run()
        best = min(best, (time.process_time() - began) / count)
    return best


def products_s(config: LlamaConfig, num_rows: int, num_logits: int) -> float:
    """The model's matrix products as plain `x @ w`, w row-major."""
    rng = np.random.default_rng(0)
    hidden, inner = config.hidden_size, config.intermediate_size
    attended = config.num_heads * config.head_dim
    heads = attended + 2 * config.num_kv_heads * config.head_dim
    shapes = [(hidden, heads), (attended, hidden), (hidden, 2 * inner), (inner, hidden)] * config.num_layers
    pairs = [(rng.standard_normal((num_rows, k), np.float32), rng.random((k, n), np.float32)) for k, n in shapes]
    x, head = rng.random((num_logits, hidden), np.float32), rng.random((hidden, config.vocab_size), np.float32)
    pairs.append((x, head))
    return best_s(lambda: [x @ weight for x, weight in pairs])


def tables(num_sequences: int, num_tokens: int) -> list[Ints]:
    """Blocks in no order, as after a while of use."""
    width = -(-num_tokens // BLOCK_SIZE)
    blocks = np.random.default_rng(0).permutation(num_sequences * width).astype(np.int32)
    return list(blocks.reshape(num_sequences, width))


def decode_s(runner: NumpyRunner, batch_size: int, context: int) -> float:
    """One step, for sequences that are all so long. What their caches hold makes no difference to the time."""
    tokens = np.arange(batch_size, dtype=np.int32)
    positions = np.full(batch_size, context - 1, np.int32)
    blocks = tables(batch_size, context)
    return best_s(lambda: runner.decode(tokens, positions, blocks))


def prefill_s(runner: NumpyRunner, num_tokens: int, start: int) -> float:
    tokens = np.random.default_rng(0).integers(0, runner.vocab_size, num_tokens).astype(np.int32)
    (blocks,) = tables(1, start + num_tokens)
    return best_s(lambda: runner.prefill([PrefillRow(tokens, start, blocks, 0)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=demo.FOLDER)
    folder = parser.parse_args().folder
    config = read_config(folder)
    began = time.process_time()
    runner = NumpyRunner.load(folder, MAX_BATCH_SIZE)
    print(f"loaded in {time.process_time() - began:.3f} s; {runner.tiling}\n")
    longest = min(1024, runner.window)
    runner.allocate_kv(MAX_BATCH_SIZE * -(-longest // BLOCK_SIZE), BLOCK_SIZE)
    print("| what | tokens/CPU-s | of the products |\n|---|---|---|")
    for batch_size in (1, 8, 32):
        products = products_s(config, batch_size, batch_size)
        for context in (128, longest):
            took = decode_s(runner, batch_size, context)
            what = f"decode, {batch_size} sequences of {context} tokens"
            print(f"| {what} | {batch_size / took:,.0f} | {products / took:.2f} |")
    for num_tokens, start in ((256, 0), (256, longest - 256), (longest, 0)):
        took = prefill_s(runner, num_tokens, start)
        what = f"prefill, {num_tokens} tokens after {start}"
        print(f"| {what} | {num_tokens / took:,.0f} | {products_s(config, num_tokens, 1) / took:.2f} |")


if __name__ == "__main__":
    main()
