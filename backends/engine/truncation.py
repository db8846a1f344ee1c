"""Which candidates are left out: top-k, top-p, min-p, typical, top-n-sigma and XTC.

Each takes relative logits [R, K] and one parameter for each row [R, 1], and returns the logits with -inf where a
candidate is out; one at least is always kept. Those that count or accumulate need each row's likeliest candidate first.
Formulas are those of llama.cpp's src/llama-sampling.cpp, with its min_keep at 0.
"""

from __future__ import annotations

import numpy as np

from backends.engine.candidates import Doubles, Mask, stripe_maxima, totals, weights
from backends.engine.runner import Floats

OUT = np.float32(-np.inf)
LEAST_P = 1e-9
"""Even top-p 0 keeps the likeliest token."""

ROUNDING = 1e-3
"""By so much a floor is lowered for the sake of sums that are not exact."""


def keep_top_k(logits: Floats, k: Floats) -> Floats:
    """The k likeliest."""
    return _keep(logits, np.cumsum(logits > OUT, axis=1) <= k)


def keep_top_p(logits: Floats, p: Floats, total: Floats | None = None) -> Floats:
    """The fewest that together have at least p of the probability (nucleus sampling, arXiv:1904.09751).

    total [R, 1]: the weight of all tokens, as multiples of the likeliest's, where some are not among the candidates.
    """
    weight = weights(logits)
    mass = weight.cumsum(axis=1, dtype=np.float64)
    whole = mass[:, -1:] if total is None else total
    return _keep(logits, mass - weight < np.maximum(p, LEAST_P) * whole)


def top_p_floor(logits: Floats, p: Floats, temperature: Floats | None, highest: Floats) -> tuple[Floats, Floats]:
    """A logit [R, 1] that every token kept by top-p has at this temperature [R, 1] (None: 1), and keep_top_p's total
    [R, 1]. highest [R, 1]: of each row's logits, which aren't relative here.

    No lower than where the maxima of stripes of the vocabulary alone come to p. Where they don't, all tokens below
    1 - p of the mean weight together weigh less than top-p may leave out.
    """
    weight = logits - highest
    if temperature is not None:
        weight /= temperature
    np.exp(weight, out=weight)
    total = weight.sum(axis=1, keepdims=True)
    maxima = np.sort(stripe_maxima(weight, 1), axis=1)[:, ::-1]
    num_short = (maxima.cumsum(axis=1, dtype=np.float64) < p * total).sum(axis=1, keepdims=True)
    last = np.take_along_axis(maxima, num_short.clip(max=maxima.shape[1] - 1), axis=1)
    least = np.where(num_short < maxima.shape[1], last, (1 - p) * total / logits.shape[1])
    floor: Floats = highest + _cooled(np.log(least).astype(np.float32) - np.float32(ROUNDING), temperature)
    return floor, total


def keep_min_p(logits: Floats, p: Floats) -> Floats:
    """Those with at least p times the probability of the likeliest (arXiv:2407.01082)."""
    return _keep(logits, logits >= min_p_floor(logits.max(axis=1, keepdims=True), p, None))


def min_p_floor(highest: Floats, p: Floats, temperature: Floats | None) -> Floats:
    """The logit [R, 1] that a token needs to be kept by min-p at this temperature [R, 1] (None: 1); p above 0.

    highest [R, 1]: of each row.
    """
    floor: Floats = highest + _cooled(np.log(np.minimum(p, 1.0)), temperature)
    return floor


def keep_top_n_sigma(logits: Floats, n: Floats) -> Floats:
    """Those whose logit is at most n standard deviations below the highest (arXiv:2411.07641)."""
    exact = logits.astype(np.float64)
    return _keep(logits, logits >= top_n_sigma_floor(exact, n, exact.max(axis=1, keepdims=True)))


def top_n_sigma_floor(logits: Floats | Doubles, n: Floats, highest: Floats | Doubles) -> Floats:
    """The logit [R, 1] that a token needs to be kept by top-n-sigma. highest [R, 1]: of each row.

    In double precision where rows have been widened to their batch's width: the zeros would show in shorter sums.
    """
    is_in = logits > OUT
    count = is_in.sum(axis=1, keepdims=True)
    has_bans = bool(count.min() < logits.shape[1])
    values = np.where(is_in, logits, 0) if has_bans else logits
    deviation = values - (values.sum(axis=1, keepdims=True) / count).astype(values.dtype)
    if has_bans:
        deviation *= is_in
    sigma = np.sqrt(np.einsum("ij,ij->i", deviation, deviation)[:, None] / count)
    floor: Floats = (highest - n * sigma).astype(np.float32)
    return floor


def keep_typical(logits: Floats, p: Floats) -> Floats:
    """Those whose surprise is nearest to the expected one, until they have more than p of the probability.

    Locally typical sampling, arXiv:2202.00666.
    """
    weight = weights(logits)
    probability = weight / totals(weight)
    is_in = probability > 0
    surprise = -np.log(np.where(is_in, probability, 1))
    entropy = totals(probability * surprise)
    distance = np.where(is_in, np.abs(surprise - entropy), np.inf)
    nearest = np.argsort(distance, axis=1, kind="stable")
    sorted_probability = np.take_along_axis(probability, nearest, axis=1)
    mass = sorted_probability.cumsum(axis=1)
    kept = np.empty(logits.shape, np.bool_)
    np.put_along_axis(kept, nearest, mass - sorted_probability <= p, axis=1)
    return _keep(logits, kept)


def exclude_top_choices(logits: Floats, threshold: Floats, applies: Mask) -> Floats:
    """All but the least likely of those that have at least the threshold's probability, where it applies [R, 1].

    XTC, after the description in oobabooga/text-generation-webui pull request 6335.
    """
    weight = weights(logits)
    is_top = (weight >= threshold * totals(weight)) & (logits > OUT)
    num_above = np.cumsum(is_top, axis=1)
    return _keep(logits, ~(applies & is_top & (num_above < num_above[:, -1:])))


def _cooled(relative: Floats, temperature: Floats | None) -> Floats:
    """As logits [R, 1] are before a temperature acts on them."""
    return relative if temperature is None else relative * temperature


def _keep(logits: Floats, is_kept: Mask) -> Floats:
    kept: Floats = np.where(is_kept, logits, OUT)
    return kept
