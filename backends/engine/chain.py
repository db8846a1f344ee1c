"""The chain of samplers: from logits to the candidates that are left, for sequences with the same plan."""

from __future__ import annotations

from typing_extensions import assert_never

from backends.engine import temperature, truncation
from backends.engine.candidates import Candidates, cut, everything, relative, top
from backends.engine.resolved_sampling import Plan, Stage
from backends.engine.runner import Floats
from backends.engine.sampler_group import SamplerGroup


def survivors(logits: Floats, group: SamplerGroup) -> Candidates:
    """What may be chosen of logits [R, V]. The first stage that leaves anything out says what is cut away before."""
    heat, plan = None, group.plan
    if plan[:1] == ("temperature",):  # keeps the order of tokens, so the cut can come first
        heat, plan = group.column("temperature"), plan[1:]
    found, plan = _lead(logits, heat, plan, group)
    kept = found.logits
    for stage in plan:
        kept = _apply(stage, kept, group)
    return Candidates(found.tokens, kept)


def _lead(logits: Floats, heat: Floats | None, plan: Plan, group: SamplerGroup) -> tuple[Candidates, Plan]:
    """The candidates for a plan, at temperature heat [R, 1] (None: 1), and the stages that have still to act on them.

    A stage that looks at the whole vocabulary acts here, on all of it.
    """
    match plan[:1]:
        case ("top_k",):
            return _heated(top(logits, int(group.column("top_k").max())), heat), plan
        case ("min_p",):
            highest = logits.max(axis=1, keepdims=True)
            floor = truncation.min_p_floor(highest, group.column("min_p"), heat)
            return _heated(cut(logits, floor, highest), heat), plan[1:]
        case ("top_n_sigma",):
            highest = logits.max(axis=1, keepdims=True)
            floor = truncation.top_n_sigma_floor(logits, group.column("top_n_sigma"), highest)
            return _heated(cut(logits, floor, highest), heat), plan[1:]
        case ("top_p",):
            highest, p = logits.max(axis=1, keepdims=True), group.column("top_p")
            floor, total = truncation.top_p_floor(logits, p, heat, highest)
            found = _heated(cut(logits, floor, highest), heat)
            return Candidates(found.tokens, truncation.keep_top_p(found.logits, p, total)), plan[1:]
        case _:
            return _heated(everything(logits), heat), plan


def _heated(found: Candidates, heat: Floats | None) -> Candidates:
    return found if heat is None else Candidates(found.tokens, found.logits / heat)


def _apply(stage: Stage, logits: Floats, group: SamplerGroup) -> Floats:
    """Relative logits again, also where the likeliest was left out."""
    match stage:
        case "top_n_sigma":
            return truncation.keep_top_n_sigma(logits, group.column("top_n_sigma"))
        case "top_k":
            return truncation.keep_top_k(logits, group.column("top_k"))
        case "typical_p":
            return relative(truncation.keep_typical(logits, group.column("typical_p")))
        case "top_p":
            return truncation.keep_top_p(logits, group.column("top_p"))
        case "min_p":
            return truncation.keep_min_p(logits, group.column("min_p"))
        case "xtc":
            applies = group.chances() <= group.column("xtc_probability")
            return relative(truncation.exclude_top_choices(logits, group.column("xtc_threshold"), applies))
        case "temperature":
            return temperature.scale(logits, group.column("temperature"))
        case "dynamic_temperature":
            return temperature.dynamic(
                logits,
                group.column("temperature"),
                group.column("temperature_range"),
                group.column("temperature_exponent"),
            )
        case _:
            assert_never(stage)
