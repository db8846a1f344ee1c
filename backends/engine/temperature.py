"""Temperature: how much the likelier tokens are preferred."""

from __future__ import annotations

import numpy as np

from backends.engine.candidates import totals, weights
from backends.engine.runner import Floats

LEAST = 1e-20
"""In place of 0, which would divide by nothing: whatever is less likely than the likeliest is out by far."""


def scale(logits: Floats, temperature: Floats) -> Floats:
    """Relative logits [R, K], at temperature [R, 1]."""
    scaled: Floats = logits / np.maximum(temperature, np.float32(LEAST))
    return scaled


def dynamic(logits: Floats, temperature: Floats, spread: Floats, exponent: Floats) -> Floats:
    """Between temperature - spread and temperature + spread, the higher the more evenly the candidates are spread.

    The share of the greatest possible entropy, to the power of `exponent`, says how far between (temp-ext in
    llama.cpp's src/llama-sampling.cpp). The parameters are [R, 1]; a single candidate stays as it is.
    """
    weight = weights(logits)
    probability = weight / totals(weight)
    entropy = -totals(probability * np.log(np.where(probability > 0, probability, 1)))
    greatest = np.log((logits > -np.inf).sum(axis=1, keepdims=True))
    share = np.where(greatest > 0, entropy / np.where(greatest > 0, greatest, 1), 0)
    low = np.maximum(temperature - spread, np.float32(0))
    return scale(logits, (low + (temperature + spread - low) * share**exponent).astype(np.float32))
