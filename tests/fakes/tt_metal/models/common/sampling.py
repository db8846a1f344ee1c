"""Where SamplingParams are since ttnn 0.67."""

import os

if os.environ.get("FAKE_TT_METAL") in ("2025-07", "2026-02-04"):
    raise ModuleNotFoundError("No module named 'models.common.sampling'", name="models.common.sampling")

from models.tt_transformers.tt.parameters import SamplingParams

__all__ = ["SamplingParams"]
