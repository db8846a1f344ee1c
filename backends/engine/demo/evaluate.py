"""Measure the embedded model as it ships, on the library's held-out files, with the engine's own runner.

    python -m backends.engine.demo.evaluate

Prints bits per byte (also at the far end of the window), and how well it fills in one missing line of a held-out
function with the text after it (fill-in-the-middle) and without (left to right).
"""

from __future__ import annotations

import argparse
import ast
import math
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))  # the training scripts run without the project installed

from corpus import END, FIM_MIDDLE, FIM_PREFIX, FIM_SUFFIX, SourceFile, standard_library

from backends.engine.numpy_runner import NumpyRunner
from backends.engine.runner import Floats, Ints, PrefillRow
from backends.engine.tokenizer import Tokenizer

FOLDER = Path(__file__).parent
BLOCK_SIZE = 16


class Judge:
    """Scores and continues token sequences, one at a time."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = Tokenizer.load(folder)
        self.runner = NumpyRunner.load(folder, max_batch_size=1)
        num_blocks = self.runner.window // BLOCK_SIZE
        self.runner.allocate_kv(num_blocks, BLOCK_SIZE)
        self.table = np.arange(num_blocks, dtype=np.int32)

    def logits(self, tokens: Sequence[int]) -> Floats:
        """[len(tokens), vocab_size]"""
        row = PrefillRow(np.asarray(tokens, np.int32), 0, self.table, slot=0, all_logits=True)
        return self.runner.prefill([row])[0]

    def bits(self, context: Sequence[int], target: Sequence[int]) -> float:
        """What it costs to say `target` after `context`."""
        logits = self.logits([*context, *target])[len(context) - 1 : -1]
        return float(losses(logits, np.asarray(target, np.int32)).sum() / math.log(2))

    def greedy(self, context: Sequence[int], end: str, most: int = 40) -> str:
        best = int(self.logits(context)[-1].argmax())
        text = ""
        for position in range(len(context), len(context) + most):
            text += self.tokenizer.decode([best])
            if end in text or best in self.tokenizer.eos_token_ids:
                break
            newest, where = np.array([best], np.int32), np.array([position], np.int32)
            best = int(self.runner.decode(newest, where, [self.table])[0].argmax())
        return text.partition(end)[0]


def losses(logits: Floats, targets: Ints) -> Floats:
    """Cross entropy in nats: [n, vocab_size], [n] → [n]."""
    top = logits.max(-1, keepdims=True)
    total = np.log(np.exp(logits - top).sum(-1)) + top[:, 0]
    return total - logits[np.arange(len(targets)), targets]


def bits_per_byte(judge: Judge, files: Sequence[SourceFile], length: int, skip: int = 0) -> float:
    """Over all files in windows of `length` tokens, none of which is asked for twice; `skip`: tokens of each window
    that are context only."""
    nats = num_bytes = 0.0
    for window in windows(judge.tokenizer, files, length):
        tokens = np.asarray(window, np.int32)
        nats += float(losses(judge.logits(tokens)[skip:-1], tokens[skip + 1 :]).sum())
        num_bytes += sum(len(judge.tokenizer.token_bytes(token)) for token in window[skip + 1 :])
    return nats / math.log(2) / num_bytes


def windows(tokenizer: Tokenizer, files: Sequence[SourceFile], length: int) -> Iterator[list[int]]:
    stream = [token for file in files for token in tokenizer.encode(file.text + END, add_special=False)]
    for start in range(0, len(stream) - 1, length):
        window = stream[start : start + length + 1]
        if len(window) > 1:
            yield window


def missing_lines(files: Sequence[SourceFile], rng: random.Random) -> Iterator[tuple[str, str, str]]:
    """(before, line, after) for one line in the middle of each function of six lines and more."""
    for file in files:
        lines = file.text.splitlines(keepends=True)
        for node in ast.walk(ast.parse(file.text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.end_lineno:
                body = lines[node.lineno - 1 : node.end_lineno]
                candidates = [i for i in range(2, len(body) - 1) if len(body[i].strip()) > 8]
                if len(body) >= 6 and candidates:
                    i = rng.choice(candidates)
                    yield "".join(body[:i]), body[i], "".join(body[i + 1 :])


def infilling(judge: Judge, files: Sequence[SourceFile], most: int) -> str:
    encode = judge.tokenizer.encode
    rng = random.Random(0)
    cases = list(missing_lines(files, rng))
    cases = rng.sample(cases, min(most, len(cases)))
    bits = {"with the text after it": 0.0, "left to right": 0.0}
    exact = dict.fromkeys(bits, 0)
    for before, line, after in cases:
        fim = f"{FIM_PREFIX}{FIM_SUFFIX}{after}{FIM_MIDDLE}{before}"
        for name, prompt in zip(bits, (fim, before), strict=True):
            context = encode(prompt, add_special=True)
            bits[name] += judge.bits(context, encode(line, add_special=False))
            exact[name] += judge.greedy(context, "\n").strip() == line.strip()
    num_bytes = sum(len(line.encode()) for _, line, _ in cases)
    header = f"a missing line of a held-out function, {len(cases)} of them:"
    return "\n".join(
        [header]
        + [
            f"  {name:22}  {bits[name] / num_bytes:.3f} bits per byte, {exact[name] / len(cases):.1%} exactly right"
            for name in bits
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--lines", type=int, default=300, help="how many missing lines to fill in")
    args = parser.parse_args()
    judge = Judge(args.folder)
    files = [file for file in standard_library() if file.is_held_out]
    print(f"{len(files)} held-out files, {sum(len(file.text.encode()) for file in files):,} bytes")
    for length in (512, 2048):
        print(f"bits per byte in windows of {length}: {bits_per_byte(judge, files, length):.4f}")
    far = bits_per_byte(judge, files, 16_384, skip=15_360)
    print(f"bits per byte of the last 1,024 tokens of windows of 16,384: {far:.4f}")
    print(infilling(judge, files, args.lines))


if __name__ == "__main__":
    main()
