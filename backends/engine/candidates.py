"""The few tokens of each sequence that may still be chosen, cut out of a step's whole vocabulary, and the choice.

A vocabulary is too wide to sort or to draw random numbers for (at 128k tokens and 32 sequences that alone is tens of
milliseconds), so everything after the cut works on these. Knows nothing of samplers or requests.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from backends.engine.runner import Floats, Ints

NO_TOKEN = -1
"""Chosen where no token has a finite logit: everything is banned, or the model gave none."""

LOWEST = np.finfo(np.float32).min
"""A floor that every token passes that isn't banned."""

WIDE = 16_384
"""A vocabulary for which it pays to fold it before it is searched."""

TOKEN_SHIFT = np.uint64(32)
TOKEN_BITS = np.uint64(0xFFFFFFFF)
BANNED_KEY = np.uint64(np.float32(-np.inf).view(np.uint32)) << TOKEN_SHIFT

Doubles: TypeAlias = npt.NDArray[np.float64]
Keys: TypeAlias = npt.NDArray[np.uint64]
Places: TypeAlias = npt.NDArray[np.int64]
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
        chosen = self.tokens[np.arange(len(column)), np.minimum(column, mass.shape[1] - 1)]
        return np.where(mass[:, -1] > 0, chosen, NO_TOKEN).astype(np.int32, copy=False)


def relative(logits: Floats) -> Floats:
    """Logits [R, K] relative to each row's highest."""
    result: Floats = logits - logits.max(axis=1, keepdims=True)
    return result


def weights(logits: Floats) -> Floats:
    """Probabilities [R, K] of relative logits, not normalised: the likeliest token's weight is 1."""
    result: Floats = np.exp(logits)
    return result


def totals(values: Floats | Doubles) -> Doubles:
    """Sums [R, 1] of values [R, K], added up in order: zeros that widen a row to its batch's width change nothing."""
    return values.cumsum(axis=1, dtype=np.float64)[:, -1:]


def everything(logits: Floats) -> Candidates:
    """All tokens of logits [R, V] that aren't banned."""
    return cut(logits, np.full((len(logits), 1), LOWEST, np.float32), logits.max(axis=1, keepdims=True))


def cut(logits: Floats, floor: Floats, highest: Floats) -> Candidates:
    """All tokens of logits [R, V] that reach floor [R, 1], banned ones excepted. highest [R, 1]: of each row."""
    return _ranked(logits, np.flatnonzero(logits >= np.maximum(floor, LOWEST)), highest)


def top(logits: Floats, count: int) -> Candidates:
    """The `count` likeliest tokens of each row of logits [R, V], and few others.

    A row is folded into stripes. Each of the `count` with the highest maxima holds a token at least as high as the
    lowest of these maxima: that is the floor. A wide row is folded first into finer stripes, of which only those are
    looked into whose maxima reach it.
    """
    num_rows, vocab_size = logits.shape
    if 8 * count > vocab_size:
        return everything(logits)
    depth = _depth(vocab_size, count)
    maxima = logits if depth == 1 else logits.reshape(num_rows, depth, -1).max(axis=1)
    floor = np.sort(stripe_maxima(maxima, 4 * count), axis=1)[:, -count, None]
    np.maximum(floor, LOWEST, out=floor)
    places = np.flatnonzero(maxima >= floor)
    if depth > 1:
        places = _look_into(places, logits, floor, depth)
    return _ranked(logits, places, maxima.max(axis=1, keepdims=True))


def _depth(vocab_size: int, count: int) -> int:
    """Of a fold that leaves nothing over, and in which to find stripes takes about as long as to look into them."""
    if vocab_size < WIDE:
        return 1
    return math.gcd(vocab_size, 1 << math.isqrt(vocab_size // (4 * count)).bit_length() - 1)


def _look_into(stripes: Places, logits: Floats, floor: Floats, depth: int) -> Places:
    """Where in the flattened logits [R, V] the tokens are that reach floor [R, 1], of these stripes of so many."""
    vocab_size = logits.shape[1]
    width = vocab_size // depth
    row = stripes // width
    first = stripes + row * (vocab_size - width)
    values = logits.reshape(-1)[np.arange(0, vocab_size, width)[:, None] + first]
    flat = np.flatnonzero((values >= floor[row, 0]).T)
    stripe = flat // depth
    places: Places = first[stripe] + (flat - stripe * depth) * width
    return places


def _ranked(logits: Floats, places: Places, highest: Floats) -> Candidates:
    """The tokens at these places [n] of the flattened logits [R, V], row after row."""
    num_rows, vocab_size = logits.shape
    row = places // vocab_size
    num_kept = np.bincount(row, minlength=num_rows)
    column = np.arange(len(row)) - (num_kept.cumsum() - num_kept)[row]
    keys = np.full((num_rows, max(1, int(num_kept.max()))), BANNED_KEY)
    keys[row, column] = _sort_keys(logits.reshape(-1)[places] - highest.reshape(-1)[row], places - row * vocab_size)
    keys.sort(axis=1)
    return Candidates((keys & TOKEN_BITS).astype(np.int32), (keys >> TOKEN_SHIFT).astype(np.uint32).view(np.float32))


def _sort_keys(relative: Floats, tokens: Places) -> Keys:
    """Of logits that are at most 0: the higher the logit, then the lower the id, the smaller the key.

    The bits of floats that aren't positive, read as integers, grow as the floats fall. One sort of integers is several
    times as fast as finding the order and then fetching by it.
    """
    keys: Keys = relative.view(np.uint32).astype(np.uint64) << TOKEN_SHIFT | tokens.astype(np.uint64)
    return keys


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
