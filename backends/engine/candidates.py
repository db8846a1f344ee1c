"""The few tokens of each sequence that may still be chosen, cut out of a step's whole vocabulary, and the choice.

A vocabulary is too wide to sort or to draw random numbers for (at 128k tokens and 32 sequences that alone is tens of
milliseconds), so everything after the cut works on these. Knows nothing of samplers or requests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from backends.engine.runner import Floats, Ints

NO_TOKEN = -1
"""Chosen where no token has a finite logit: everything is banned, or the model gave none."""

LOWEST = np.finfo(np.float32).min
"""A floor that every token passes that isn't banned."""

TOKEN_SHIFT = np.uint64(32)
TOKEN_BITS = np.uint64(0xFFFFFFFF)
BANNED_KEY = np.uint64(np.float32(-np.inf).view(np.uint32)) << TOKEN_SHIFT

Doubles: TypeAlias = npt.NDArray[np.float64]
Keys: TypeAlias = npt.NDArray[np.uint64]
Mask: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Candidates:
    """tokens [R, K] and logits [R, K], the latter relative to each row's highest; -inf: not to be chosen.

    Most likely first, of equals the lower id first.
    """

    tokens: Ints
    logits: Floats

    def choose(self, uniforms: Doubles) -> Ints:
        """The token at which the cumulative distribution passes each of uniforms [R], which are in [0, 1)."""
        mass = weights(self.logits).cumsum(axis=1, dtype=np.float64)
        column = (mass <= uniforms[:, None] * mass[:, -1:]).sum(axis=1)
        rows = np.arange(len(column))
        chosen = self.tokens[rows, column.clip(max=mass.shape[1] - 1)]
        return np.where(mass[:, -1] > 0, chosen, NO_TOKEN).astype(np.int32)


def weights(logits: Floats) -> Floats:
    """Probabilities [R, K], not normalised: the likeliest token's weight is 1."""
    result: Floats = np.exp(logits - logits.max(axis=1, keepdims=True))
    return result


def totals(values: Floats | Doubles) -> Doubles:
    """Sums [R, 1] of values [R, K], added up in order: zeros that widen a row to its batch's width change nothing."""
    return values.cumsum(axis=1, dtype=np.float64)[:, -1:]


def cut(logits: Floats, floor: Floats) -> Candidates:
    """All tokens of logits [R, V] that reach floor [R, 1]. Banned ones never do."""
    num_rows, vocab_size = logits.shape
    highest = logits.max(axis=1)
    flat = np.flatnonzero(logits >= np.maximum(floor, LOWEST))
    row = flat // vocab_size
    num_kept = np.bincount(row, minlength=num_rows)
    column = np.arange(len(flat)) - (np.cumsum(num_kept) - num_kept)[row]
    keys = np.full((num_rows, max(1, int(num_kept.max()))), BANNED_KEY)
    keys[row, column] = _sort_keys(logits.reshape(-1)[flat] - highest[row], flat - row * vocab_size)
    keys.sort(axis=1)
    return Candidates((keys & TOKEN_BITS).astype(np.int32), (keys >> TOKEN_SHIFT).astype(np.uint32).view(np.float32))


def _sort_keys(relative: Floats, tokens: npt.NDArray[np.int64]) -> Keys:
    """Of logits that are at most 0: the higher the logit, then the lower the id, the smaller the key.

    The bits of floats that aren't positive, read as integers, grow as the floats fall. One sort of integers is several
    times as fast as finding the order and then fetching by it.
    """
    keys: Keys = relative.view(np.uint32).astype(np.uint64) << TOKEN_SHIFT | tokens.astype(np.uint64)
    return keys


def floor_of_top(logits: Floats, count: int) -> Floats:
    """A floor [R, 1] that at least the `count` likeliest tokens reach, and few others.

    Each of the `count` stripes with the highest maxima holds a token at least as high as the lowest of these maxima.
    """
    if 8 * count > logits.shape[1]:
        return np.full((len(logits), 1), LOWEST, np.float32)
    maxima = stripe_maxima(logits, 4 * count)
    place = maxima.shape[1] - count
    floor: Floats = np.partition(maxima, place, axis=1)[:, place, None]
    return floor


def stripe_maxima(values: Floats, min_num_stripes: int) -> Floats:
    """The highest of each stripe of values [R, V]: at least so many stripes, if V is twice that.

    A row is folded, so that a stripe is every n-th value; what is left over at the end is in none.
    """
    num_rows, length = values.shape
    width = min(length, max(min_num_stripes, _folded_width(length)))
    depth = length // width
    maxima: Floats = values[:, : depth * width].reshape(num_rows, depth, width).max(axis=1)
    return maxima


def _folded_width(length: int) -> int:
    """Wide enough for numpy's inner loops to be fast, narrow enough for a fold to be worth it."""
    return max(256, length // 64)


def choose_from_all(logits: Floats, temperature: Floats | None, uniforms: Doubles) -> Ints:
    """As Candidates.choose, over the whole of logits [R, V] at temperature [R, 1] (None: 1), without sorting it.

    A row is folded into stripes: first the stripe in which the distribution passes the uniform, then the token in it.
    """
    num_rows, vocab_size = logits.shape
    width = _folded_width(vocab_size)
    depth = -(-vocab_size // width)
    folded = np.empty((num_rows, depth * width), np.float32)
    folded[:, vocab_size:] = -np.inf
    highest = logits.max(axis=1, keepdims=True)
    np.subtract(logits, highest, out=folded[:, :vocab_size])
    if temperature is not None:
        np.divide(folded, temperature, out=folded)
    stripes = np.exp(folded, out=folded).reshape(num_rows, depth, width)
    sums = stripes.sum(axis=1)
    mass = sums.cumsum(axis=1, dtype=np.float64)
    targets = uniforms * mass[:, -1]
    rows = np.arange(num_rows)
    stripe = (mass <= targets[:, None]).sum(axis=1).clip(max=width - 1)
    within = (targets - mass[rows, stripe]) / sums[rows, stripe] + 1.0
    inner = stripes[rows, :, stripe].cumsum(axis=1, dtype=np.float64)
    place = (inner <= within[:, None].clip(0.0, 1.0 - 1e-12) * inner[:, -1:]).sum(axis=1).clip(max=depth - 1)
    return np.where(np.isfinite(highest[:, 0]), place * width + stripe, NO_TOKEN).astype(np.int32)
