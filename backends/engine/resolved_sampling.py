"""What a request's sampling comes to once the model's own defaults are filled in, and which samplers then act."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from typing_extensions import assert_never

from backends.request import Dry, Mirostat, SamplerName, Sampling, Xtc

GREEDY_BELOW = 1e-5
"""vLLM's bound (vllm/v1/sample/sampler.py): dividing by less than this only overflows."""

XTC_OFF_ABOVE = 0.5
"""No two tokens can both have more than half of the probability."""

Method: TypeAlias = Literal["greedy", "mirostat", "chain"]
Stage: TypeAlias = SamplerName | Literal["dynamic_temperature"]
Plan: TypeAlias = tuple[Stage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedSampling:
    """Sampling without Nones; a value that is off changes nothing.

    method: greedy takes the likeliest token, whatever else is set, once penalties, bias and mask have acted; mirostat
    stands in for every truncation and, as in llama.cpp's common/sampling.cpp, for the penalties and DRY too.
    plan: the stages of a chain that change something, in the order in which they act.
    """

    temperature: float
    top_k: int
    top_p: float
    min_p: float
    typical_p: float
    top_n_sigma: float
    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float
    penalty_window: int
    penalize_prompt: bool
    temperature_range: float
    temperature_exponent: float
    dry: Dry | None
    xtc: Xtc | None
    mirostat: Mirostat | None
    order: tuple[SamplerName, ...]

    @classmethod
    def of(cls, sampling: Sampling, defaults: Mapping[str, float]) -> ResolvedSampling:
        """defaults: from the model's generation_config, by Sampling's names; other names are none of the sampler's."""

        def choose(name: str, asked: float | None, neutral: float) -> float:
            return float(defaults.get(name, neutral) if asked is None else asked)

        has_temperature = "temperature" in sampling.order
        return cls(
            temperature=choose("temperature", sampling.temperature, 1.0) if has_temperature else 1.0,
            top_k=int(choose("top_k", sampling.top_k, 0)),
            top_p=choose("top_p", sampling.top_p, 1.0),
            min_p=choose("min_p", sampling.min_p, 0.0),
            typical_p=choose("typical_p", sampling.typical_p, 1.0),
            top_n_sigma=choose("top_n_sigma", sampling.top_n_sigma, 0.0),
            repetition_penalty=choose("repetition_penalty", sampling.repetition_penalty, 1.0),
            presence_penalty=choose("presence_penalty", sampling.presence_penalty, 0.0),
            frequency_penalty=choose("frequency_penalty", sampling.frequency_penalty, 0.0),
            penalty_window=sampling.penalty_window,
            penalize_prompt=sampling.penalize_prompt,
            temperature_range=sampling.temperature_range if has_temperature else 0.0,
            temperature_exponent=sampling.temperature_exponent,
            dry=sampling.dry,
            xtc=sampling.xtc,
            mirostat=sampling.mirostat,
            order=sampling.order,
        )

    @property
    def method(self) -> Method:
        if self.temperature < GREEDY_BELOW and self.temperature_range <= 0:
            return "greedy"
        return "chain" if self.mirostat is None else "mirostat"

    @property
    def plan(self) -> Plan:
        if self.method != "chain":
            return ()
        stages: list[Stage] = [name for name in self.order if self._changes_something(name)]
        if self.temperature_range > 0:
            stages = ["dynamic_temperature" if stage == "temperature" else stage for stage in stages]
        return tuple(stages)

    @property
    def xtc_threshold(self) -> float:
        return self.xtc.threshold if self.xtc else 1.0

    @property
    def xtc_probability(self) -> float:
        return self.xtc.probability if self.xtc else 0.0

    @property
    def has_penalties(self) -> bool:
        """Do the three penalties change anything?"""
        is_neutral = (self.repetition_penalty, self.presence_penalty, self.frequency_penalty) == (1.0, 0.0, 0.0)
        return self.method != "mirostat" and self.penalty_window != 0 and not is_neutral

    @property
    def has_dry(self) -> bool:
        """Off as in llama.cpp's src/llama-sampling.cpp: no multiplier, a base below 1, or nothing to look back at."""
        if self.dry is None or self.method == "mirostat":
            return False
        return self.dry.multiplier != 0 and self.dry.base >= 1 and self.dry.window != 0

    def _changes_something(self, name: SamplerName) -> bool:
        match name:
            case "top_n_sigma":
                return self.top_n_sigma > 0
            case "top_k":
                return self.top_k > 0
            case "typical_p":
                return self.typical_p < 1
            case "top_p":
                return self.top_p < 1
            case "min_p":
                return self.min_p > 0
            case "xtc":
                return self.xtc is not None and self.xtc.probability > 0 and self.xtc.threshold <= XTC_OFF_ABOVE
            case "temperature":
                return self.temperature != 1 or self.temperature_range > 0
            case _:
                assert_never(name)
