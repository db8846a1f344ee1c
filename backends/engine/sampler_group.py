"""Sequences with the same samplers, which a step handles together.

What their parameters are as columns is worked out once: mostly the same sequences are sampled together for many steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np

from backends.engine.candidates import Doubles
from backends.engine.runner import Floats
from backends.engine.sampler_row import SamplerRow

Parameter: TypeAlias = Literal[
    "temperature",
    "temperature_range",
    "temperature_exponent",
    "top_k",
    "top_p",
    "min_p",
    "typical_p",
    "top_n_sigma",
    "xtc_threshold",
    "xtc_probability",
]


class SamplerGroup:
    """rows: one at least, all with the same method and plan. members: their places in the step's batch."""

    def __init__(self, rows: Sequence[SamplerRow], members: Sequence[int]) -> None:
        self.rows = rows
        self.members = members
        self.method = rows[0].method
        self.plan = rows[0].plan
        self._columns: dict[Parameter, Floats] = {}

    @classmethod
    def split(cls, rows: Sequence[SamplerRow]) -> list[SamplerGroup]:
        """A step's batch, into as few as can be."""
        places: dict[object, list[int]] = {}
        for place, row in enumerate(rows):
            places.setdefault((row.method, row.plan), []).append(place)
        return [cls([rows[member] for member in members], members) for members in places.values()]

    def column(self, name: Parameter) -> Floats:
        """[R, 1]"""
        column = self._columns.get(name)
        if column is None:
            values = [getattr(row.sampling, name) for row in self.rows]
            column = self._columns[name] = np.array(values, np.float32)[:, None]
        return column

    def uniforms(self) -> Doubles:
        """[R], for the next tokens."""
        return np.array([row.uniform for row in self.rows])

    def chances(self) -> Doubles:
        """[R, 1], for the next tokens' XTC."""
        return np.array([row.chance for row in self.rows])[:, None]
