"""What choosing a step's tokens costs: milliseconds a step, and how many times as fast as the textbook's way.

    python -m bench.sampler

The textbook's way is, for each sequence: sort all logits, softmax, cut, draw. The logits fall off with the rank as a
language model's do. The best of several runs counts, with one BLAS thread and nothing else to do in between.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np

from backends.engine.resolved_sampling import ResolvedSampling
from backends.engine.runner import Floats, Ints
from backends.engine.sampler import Sampler
from backends.engine.sampler_row import SamplerRow
from backends.request import TEMPERATURE_FIRST, Dry, Mirostat, Sampling, Xtc

VOCAB_SIZES = 4096, 131_072
BATCH_SIZES = 1, 8, 32
NUM_PROMPT_TOKENS = 1000

KINDS = {
    "greedy": Sampling(temperature=0),
    "temperature": Sampling(temperature=0.8),
    "top-k, top-p, min-p": Sampling(temperature=0.8, top_k=40, top_p=0.95, min_p=0.05),
    "the same, scaled first": Sampling(temperature=0.8, top_k=40, top_p=0.95, min_p=0.05, order=TEMPERATURE_FIRST),
    "top-p alone": Sampling(top_p=0.9),
    "min-p alone": Sampling(min_p=0.05),
    "with penalties (last 64)": Sampling(top_k=40, repetition_penalty=1.1, penalty_window=64),
    "with penalties (all)": Sampling(top_k=40, presence_penalty=0.5, frequency_penalty=0.5),
    "with DRY": Sampling(top_k=40, dry=Dry(0.8)),
    "with XTC": Sampling(top_k=40, xtc=Xtc(0.5, 0.1)),
    "typical": Sampling(top_k=40, typical_p=0.9),
    "top-n-sigma": Sampling(top_n_sigma=1.0),
    "mirostat 1": Sampling(mirostat=Mirostat(1)),
    "mirostat 2": Sampling(mirostat=Mirostat(2)),
}


def language_like(rng: np.random.Generator, num_rows: int, vocab_size: int) -> Floats:
    falling = -2.0 * np.log1p(np.arange(vocab_size)) + rng.standard_normal((num_rows, vocab_size))
    return rng.permuted(falling, axis=1).astype(np.float32)


def by_the_textbook(logits: Floats, rng: np.random.Generator) -> Ints:
    tokens = []
    for row in logits:
        order = np.argsort(-row)
        probabilities = np.exp((row[order] - row[order[0]]) / 0.8)
        probabilities[40:] = 0
        probabilities /= probabilities.sum()
        probabilities[np.cumsum(probabilities) - probabilities >= 0.95] = 0
        mass = np.cumsum(probabilities)
        tokens.append(order[np.searchsorted(mass, rng.random() * mass[-1], side="right")])
    return np.array(tokens, np.int32)


def best_ms(step: Callable[[Floats], object], logits: Floats, num_runs: int) -> float:
    durations = []
    for _ in range(num_runs + 1):
        fresh = logits.copy()
        started = time.perf_counter()
        step(fresh)
        durations.append(time.perf_counter() - started)
    return 1e3 * min(durations)


def new_rows(sampling: Sampling, num_rows: int, vocab_size: int, rng: np.random.Generator) -> list[SamplerRow]:
    resolved = ResolvedSampling.of(sampling, {})
    prompts = rng.integers(0, vocab_size, (num_rows, NUM_PROMPT_TOKENS)).astype(np.int32)
    return [SamplerRow(resolved, prompt, seed) for seed, prompt in enumerate(prompts)]


def report(vocab_size: int) -> None:
    rng = np.random.default_rng(0)
    batches = {size: language_like(rng, size, vocab_size) for size in BATCH_SIZES}
    textbook = {size: best_ms(partial(by_the_textbook, rng=rng), x, 2) for size, x in batches.items()}
    print(f"\n{vocab_size} tokens: ms a step (times as fast as the textbook's way)")
    print(f"{'':26}" + "".join(f"{f'{size} sequences':>20}" for size in BATCH_SIZES))
    print(f"{'textbook':26}" + "".join(f"{textbook[size]:>11.3f}{'':9}" for size in BATCH_SIZES))
    for name, sampling in KINDS.items():
        cells = []
        for size, logits in batches.items():
            rows = new_rows(sampling, size, vocab_size, rng)
            cost = best_ms(partial(Sampler().sample, rows=rows, masks=[None] * size), logits, 20)
            cells.append(f"{cost:>11.3f} {f'({textbook[size] / cost:.0f}x)':8}")
        print(f"{name:26}" + "".join(cells))


if __name__ == "__main__":
    for width in VOCAB_SIZES:
        report(width)
