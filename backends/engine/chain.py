"""The chain of samplers: from logits to the candidates that are left, for sequences with the same plan."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from typing_extensions import assert_never

from backends.engine import temperature, truncation
from backends.engine.candidates import LOWEST, Candidates, cut, floor_of_top
from backends.engine.resolved_sampling import Plan, Stage
from backends.engine.runner import Floats
from backends.engine.sampler_row import SamplerRow


def survivors(logits: Floats, plan: Plan, rows: Sequence[SamplerRow]) -> Candidates:
    """What may be chosen of logits [R, V]. The first stage that leaves anything out says what is cut away before."""
    heat = np.ones((len(rows), 1), np.float32)
    if plan[:1] == ("temperature",):  # keeps the order of tokens, so the cut can come first
        heat, plan = _column([row.sampling.temperature for row in rows]), plan[1:]
    found, plan = _lead(logits, heat, plan, rows)
    kept = found.logits
    for stage in plan:
        kept = _apply(stage, kept, rows)
    return Candidates(found.tokens, kept)


def _lead(logits: Floats, heat: Floats, plan: Plan, rows: Sequence[SamplerRow]) -> tuple[Candidates, Plan]:
    """The candidates for a plan, at temperature heat [R, 1], and the stages that have still to act on them.

    A stage that looks at the whole vocabulary acts here, on all of it.
    """
    samplings = [row.sampling for row in rows]
    match plan[:1]:
        case ("top_k",):
            return _cut(logits, floor_of_top(logits, max(each.top_k for each in samplings)), heat), plan
        case ("min_p",):
            floor = truncation.min_p_floor(logits, _column([each.min_p for each in samplings]), heat)
            return _cut(logits, floor, heat), plan[1:]
        case ("top_n_sigma",):
            floor = truncation.top_n_sigma_floor(logits, _column([each.top_n_sigma for each in samplings]))
            return _cut(logits, floor, heat), plan[1:]
        case ("top_p",):
            p = _column([each.top_p for each in samplings])
            floor, total = truncation.top_p_floor(logits, p, heat)
            found = _cut(logits, floor, heat)
            return Candidates(found.tokens, truncation.keep_top_p(found.logits, p, total)), plan[1:]
        case _:
            return _cut(logits, np.full((len(rows), 1), LOWEST, np.float32), heat), plan


def _cut(logits: Floats, floor: Floats, heat: Floats) -> Candidates:
    found = cut(logits, floor)
    return Candidates(found.tokens, found.logits / heat)


def _apply(stage: Stage, logits: Floats, rows: Sequence[SamplerRow]) -> Floats:
    samplings = [row.sampling for row in rows]
    match stage:
        case "top_n_sigma":
            return truncation.keep_top_n_sigma(logits, _column([each.top_n_sigma for each in samplings]))
        case "top_k":
            return truncation.keep_top_k(logits, _column([each.top_k for each in samplings]))
        case "typical_p":
            return truncation.keep_typical(logits, _column([each.typical_p for each in samplings]))
        case "top_p":
            return truncation.keep_top_p(logits, _column([each.top_p for each in samplings]))
        case "min_p":
            return truncation.keep_min_p(logits, _column([each.min_p for each in samplings]))
        case "xtc":
            thresholds = _column([each.xtc.threshold if each.xtc else 1.0 for each in samplings])
            probabilities = _column([each.xtc.probability if each.xtc else 0.0 for each in samplings])
            return truncation.exclude_top_choices(
                logits, thresholds, _column([row.chance for row in rows]) <= probabilities
            )
        case "temperature":
            return temperature.scale(logits, _column([each.temperature for each in samplings]))
        case "dynamic_temperature":
            return temperature.dynamic(
                logits,
                _column([each.temperature for each in samplings]),
                _column([each.temperature_range for each in samplings]),
                _column([each.temperature_exponent for each in samplings]),
            )
        case _:
            assert_never(stage)


def _column(values: list[float]) -> Floats:
    return np.array(values, np.float32)[:, None]
