"""Which values count, and which samplers act."""

from __future__ import annotations

import pytest

from backends.engine.resolved_sampling import Method, Plan, ResolvedSampling
from backends.request import TEMPERATURE_FIRST, Dry, Mirostat, Sampling, Xtc


def test_the_request_wins_over_the_model_and_the_model_over_what_changes_nothing() -> None:
    found = ResolvedSampling.of(Sampling(top_p=0.5, temperature=1.0), {"temperature": 0.6, "top_k": 20.0, "eta": 3.0})
    assert (found.temperature, found.top_k, found.top_p, found.min_p, found.repetition_penalty) == (1, 20, 0.5, 0, 1)


@pytest.mark.parametrize(
    ("sampling", "method", "plan"),
    [
        (Sampling(), "chain", ()),
        (Sampling(temperature=0), "greedy", ()),
        (Sampling(temperature=1e-6, top_k=5, xtc=Xtc(1, 0.1), mirostat=Mirostat(2)), "greedy", ()),
        (Sampling(temperature=0, temperature_range=0.5), "chain", ("dynamic_temperature",)),
        (Sampling(temperature=0.7, mirostat=Mirostat(1), top_k=5), "mirostat", ()),
        (Sampling(top_k=0, top_p=1.0, min_p=0, typical_p=1.0, top_n_sigma=-1), "chain", ()),
        (Sampling(xtc=Xtc(0.5, 0.51)), "chain", ()),
        (Sampling(min_p=0.1, top_k=5, temperature=2), "chain", ("top_k", "min_p", "temperature")),
        (
            Sampling(min_p=0.1, top_k=5, temperature=2, order=TEMPERATURE_FIRST),
            "chain",
            ("temperature", "min_p", "top_k"),
        ),
        (Sampling(top_k=5, top_p=0.5, temperature=0, order=("top_p",)), "chain", ("top_p",)),
    ],
)
def test_only_samplers_that_change_something_act_in_their_order(sampling: Sampling, method: Method, plan: Plan) -> None:
    found = ResolvedSampling.of(sampling, {})
    assert (found.method, found.plan) == (method, plan)


@pytest.mark.parametrize(
    ("sampling", "has_penalties", "has_dry"),
    [
        (Sampling(), False, False),
        (Sampling(repetition_penalty=1.1), True, False),
        (Sampling(repetition_penalty=1.1, penalty_window=0), False, False),
        (Sampling(presence_penalty=0.1, temperature=0, dry=Dry(0.8)), True, True),
        (Sampling(frequency_penalty=0.1, dry=Dry(0.8), mirostat=Mirostat(2)), False, False),
        (Sampling(dry=Dry(0.0)), False, False),
        (Sampling(dry=Dry(0.8, base=0.9)), False, False),
        (Sampling(dry=Dry(0.8, window=0)), False, False),
    ],
)
def test_penalties_count_nothing_unless_they_matter(sampling: Sampling, has_penalties: bool, has_dry: bool) -> None:
    found = ResolvedSampling.of(sampling, {})
    assert (found.has_penalties, found.has_dry) == (has_penalties, has_dry)
