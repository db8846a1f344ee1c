"""Whether the next tokens of a batch may be chosen on the device, and how. Pure.

tt-metal's sampler (models/common/sampling/tt_sampling.py) knows temperature, then at most 32 of the likeliest, then
top_p. Everything else is the host's: bans, bias, penalties, grammars, min_p, log-probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf

from backends.engine.choice import Choice
from backends.engine.resolved_sampling import ResolvedSampling
from backends.engine.runner import DeviceSampling, SamplingPlace
from backends.engine.sampler_row import SamplerRow

MAX_TOP_K = 32
GREEDY = DeviceSampling(0.0, 1, 1.0)
_KNOWN = {"temperature", "top_k", "top_p"}


def device_samplings(choices: SequenceOf[Choice], place: SamplingPlace) -> list[DeviceSampling] | None:
    """None when even one needs its logits: a step reads either these or tokens."""
    if place == "host":
        return None
    samplings: list[DeviceSampling] = []
    for choice in choices:
        needs_logits = choice.wants_logprobs or choice.grammar is not None or choice.sampler_row.edits_logits
        sampling = None if needs_logits else device_sampling(choice.sampler_row, place)
        if sampling is None:
            return None
        samplings.append(sampling)
    return samplings


def device_sampling(row: SamplerRow, place: SamplingPlace) -> DeviceSampling | None:
    """place auto: only where the device chooses just as the host would. A seed is the host's: its random numbers
    belong to the place in the answer, the device's to the step."""
    sampling = row.sampling
    if row.method == "greedy":
        return GREEDY
    if row.method != "chain" or not _KNOWN.issuperset(row.plan):
        return None
    if place == "auto" and (row.is_seeded or not _is_exact(sampling)):
        return None
    top_k = sampling.top_k if 0 < sampling.top_k <= MAX_TOP_K else MAX_TOP_K
    return DeviceSampling(sampling.temperature, top_k, sampling.top_p)


def _is_exact(sampling: ResolvedSampling) -> bool:
    """No more candidates than the device can weigh, and top_p measured at the temperature, after top_k."""
    if not 0 < sampling.top_k <= MAX_TOP_K:
        return False
    stages = [stage for stage in sampling.plan if stage in _KNOWN]
    return "top_p" not in stages or stages[-1] == "top_p"
