"""Rotary position embeddings: which rotation each pair of a head's dimensions gets at each position.

A pair is one complex number here, so that to rotate is to multiply. It knows no weights: whoever has them must put the
two halves of each pair, which Hugging Face keeps half a head apart, side by side (see `interleave`).

Sources: transformers `modeling_rope_utils.py`; for YaRN also https://arxiv.org/abs/2309.00071.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from backends.engine.runner import Floats

Rotations: TypeAlias = npt.NDArray[np.complex64]


@dataclass(frozen=True, slots=True)
class LinearScaling:
    """Every position counts as 1 / factor."""

    factor: float


@dataclass(frozen=True, slots=True)
class Llama3Scaling:
    """Slow pairs are slowed by factor, fast ones are left alone, those between are blended.

    original_window: tokens that the model was first trained for. A pair is slow that turns less than low_freq_factor
    times in it, fast that turns more than high_freq_factor times.
    """

    factor: float
    original_window: int
    low_freq_factor: float
    high_freq_factor: float


@dataclass(frozen=True, slots=True)
class YarnScaling:
    """Like Llama3Scaling, with a ramp between the pairs that turn beta_fast and beta_slow times in original_window.

    attention_factor: every rotation also makes its vector so much longer. truncate: the ramp starts and ends at whole
    pairs.
    """

    factor: float
    original_window: int
    attention_factor: float
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    truncate: bool = True


RopeScaling: TypeAlias = LinearScaling | Llama3Scaling | YarnScaling


class Rope:
    def __init__(self, head_dim: int, theta: float, scaling: RopeScaling | None = None) -> None:
        self._attention_factor = scaling.attention_factor if isinstance(scaling, YarnScaling) else 1.0
        # Rounded as transformers rounds them, then exact: at position 30,000 the rounding is worth 0.002 radians.
        self._frequencies = _scaled(_frequencies(head_dim, theta), theta, scaling).astype(np.float32).astype(np.float64)

    def rotations(self, positions: npt.NDArray[np.intp]) -> Rotations:
        """[n] → [n, head_dim / 2]."""
        angles = positions[:, None] * self._frequencies
        rotations = np.empty(angles.shape, np.complex64)
        np.cos(angles, out=rotations.real, casting="same_kind")
        np.sin(angles, out=rotations.imag, casting="same_kind")
        if self._attention_factor != 1.0:
            rotations *= np.float32(self._attention_factor)
        return rotations


def interleave(rows: Floats, head_dim: int) -> Floats:
    """[num_heads * head_dim, …] → the same, with dimensions i and i + head_dim / 2 of each head side by side."""
    halves = rows.reshape(-1, 2, head_dim // 2, *rows.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(rows.shape)


def yarn_attention_factor(factor: float, mscale: float | None = None, mscale_all_dim: float | None = None) -> float:
    """The default, where a config gives none."""

    def scale(weight: float) -> float:
        return 1.0 if factor <= 1.0 else 0.1 * weight * math.log(factor) + 1.0

    return scale(mscale) / scale(mscale_all_dim) if mscale and mscale_all_dim else scale(1.0)


_Frequencies: TypeAlias = npt.NDArray[np.float64]
"""Radians per token, of each pair: [head_dim / 2]."""


def _frequencies(head_dim: int, theta: float) -> _Frequencies:
    return 1.0 / theta ** (np.arange(0, head_dim, 2, dtype=np.float64) / head_dim)


def _scaled(frequencies: _Frequencies, theta: float, scaling: RopeScaling | None) -> _Frequencies:
    match scaling:
        case None:
            return frequencies
        case LinearScaling():
            return frequencies / scaling.factor
        case Llama3Scaling():
            turns = scaling.original_window * frequencies / (2 * math.pi)
            fast = (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor)
        case YarnScaling():
            fast = 1.0 - _yarn_ramp(len(frequencies), theta, scaling)
    return _blend(frequencies, scaling.factor, np.clip(fast, 0.0, 1.0))


def _blend(frequencies: _Frequencies, factor: float, share_kept: _Frequencies) -> _Frequencies:
    return frequencies * share_kept + frequencies / factor * (1.0 - share_kept)


def _yarn_ramp(num_pairs: int, theta: float, scaling: YarnScaling) -> _Frequencies:
    """0 up to the last fast pair, 1 from the first slow one."""

    def pair_that_turns(times: float) -> float:
        return num_pairs * math.log(scaling.original_window / (times * 2 * math.pi)) / math.log(theta)

    low, high = pair_that_turns(scaling.beta_fast), pair_that_turns(scaling.beta_slow)
    if scaling.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, 2 * num_pairs - 1)
    return (np.arange(num_pairs, dtype=np.float64) - low) / (high - low if high != low else 0.001)
