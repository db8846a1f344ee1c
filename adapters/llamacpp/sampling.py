"""From a llama.cpp request's fields to the sampling of the one request model. Knows nothing of the wire.

The server samples through a chain of named samplers; one that `samplers` doesn't name isn't applied, whatever its
field says. Source: llama.cpp common/sampling.cpp.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from adapters.llamacpp.fields import RANDOM_SEED, Fields
from backends.request import TEMPERATURE_LAST, Dry, Mirostat, SamplerName, Sampling, Xtc

_ORDERED: Mapping[str, SamplerName] = {"typ_p": "typical_p", **{name: name for name in TEMPERATURE_LAST}}
"""Those whose place in the chain is the client's to choose; the penalties always come before them."""


def to_sampling(fields: Fields, vocab_size: int) -> Sampling:
    """vocab_size: 0 where it isn't known."""
    sampling = Sampling(
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        min_p=0.0,
        typical_p=1.0,
        logit_bias={
            token: False if bias == -math.inf else bias
            for token, bias in fields.logit_bias
            if isinstance(token, str) or is_known(token, vocab_size)
        },
        seed=None if fields.seed % 2**32 == RANDOM_SEED else fields.seed % 2**32,
        penalize_prompt=True,
        order=tuple(_ORDERED[name] for name in dict.fromkeys(fields.samplers) if name in _ORDERED),
    )
    if fields.mirostat and fields.temperature > 0:  # takes the place of the whole chain but for the temperature
        _set_temperature(sampling, fields)
        sampling.mirostat = Mirostat(1 if fields.mirostat == 1 else 2, fields.mirostat_tau, fields.mirostat_eta)
        return sampling
    for name in fields.samplers:
        _apply(name, sampling, fields)
    return sampling


def is_known(token_id: int, vocab_size: int) -> bool:
    """Others are passed over, as the server does."""
    return token_id >= 0 and (vocab_size == 0 or token_id < vocab_size)


def _apply(name: str, sampling: Sampling, fields: Fields) -> None:
    match name:
        case "penalties":
            _set_penalties(sampling, fields)
        case "dry":
            sampling.dry = _dry(fields)
        case "top_n_sigma":
            sampling.top_n_sigma = fields.top_n_sigma if fields.top_n_sigma > 0 else None
        case "top_k":
            sampling.top_k = fields.top_k
        case "typ_p":
            sampling.typical_p = fields.typical_p
        case "top_p":
            sampling.top_p = fields.top_p
        case "min_p":
            sampling.min_p = fields.min_p
        case "xtc":
            sampling.xtc = _xtc(fields)
        case "temperature":
            _set_temperature(sampling, fields)
        case _:  # `infill` and `adaptive_p`, which no backend has
            pass


def _set_penalties(sampling: Sampling, fields: Fields) -> None:
    if fields.repeat_last_n == 0:
        return
    sampling.penalty_window = fields.repeat_last_n
    sampling.repetition_penalty = fields.repeat_penalty
    sampling.presence_penalty = fields.presence_penalty
    sampling.frequency_penalty = fields.frequency_penalty


def _set_temperature(sampling: Sampling, fields: Fields) -> None:
    sampling.temperature = fields.temperature
    sampling.temperature_range = fields.dynatemp_range
    sampling.temperature_exponent = fields.dynatemp_exponent


def _dry(fields: Fields) -> Dry | None:
    if fields.dry_multiplier == 0 or fields.dry_penalty_last_n == 0:
        return None
    return Dry(
        multiplier=fields.dry_multiplier,
        base=fields.dry_base if fields.dry_base >= 1 else 1.75,
        allowed_length=fields.dry_allowed_length,
        window=fields.dry_penalty_last_n,
        breakers=fields.dry_sequence_breakers,
    )


def _xtc(fields: Fields) -> Xtc | None:
    if fields.xtc_probability == 0 or fields.xtc_threshold > 0.5:
        return None
    return Xtc(fields.xtc_probability, fields.xtc_threshold)
