"""Which batches a device may choose the tokens of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from backends.engine.device_sampling import device_sampling
from backends.engine.resolved_sampling import ResolvedSampling
from backends.engine.runner import DeviceSampling
from backends.engine.sampler_row import SamplerRow
from backends.request import Sampling

VLLM_ORDER = ("temperature", "top_k", "top_p")
PROMPT = np.array([1], np.int32)


def row(*, is_seeded: bool = False, **options: Any) -> SamplerRow:
    sampling = ResolvedSampling.of(Sampling(**{"order": VLLM_ORDER, **options}), {})
    return SamplerRow(sampling, PROMPT, 0, is_seeded=is_seeded)


GREEDY = DeviceSampling(0.0, 1, 1.0)


@pytest.mark.parametrize(
    ("options", "auto", "device"),
    [
        ({"temperature": 0.0}, GREEDY, GREEDY),
        ({"temperature": 0.0, "is_seeded": True}, GREEDY, GREEDY),
        ({"temperature": 0.8, "top_k": 20, "top_p": 0.9}, DeviceSampling(0.8, 20, 0.9), DeviceSampling(0.8, 20, 0.9)),
        ({"temperature": 0.8, "top_k": 20, "is_seeded": True}, None, DeviceSampling(0.8, 20, 1.0)),
        ({"temperature": 0.8}, None, DeviceSampling(0.8, 32, 1.0)),
        ({"temperature": 0.8, "top_k": 40}, None, DeviceSampling(0.8, 32, 1.0)),
        (
            {"temperature": 0.8, "top_k": 20, "top_p": 0.9, "order": ("top_k", "top_p", "temperature")},
            None,
            DeviceSampling(0.8, 20, 0.9),
        ),
        ({"temperature": 0.8, "top_k": 20, "min_p": 0.1, "order": (*VLLM_ORDER, "min_p")}, None, None),
    ],
)
def test_auto_takes_what_is_exact_and_device_what_is_near(
    options: dict[str, Any], auto: DeviceSampling | None, device: DeviceSampling | None
) -> None:
    assert device_sampling(row(**options), "auto") == auto
    assert device_sampling(row(**options), "device") == device
