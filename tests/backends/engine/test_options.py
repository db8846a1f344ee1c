"""What the engine's options come to for a given model."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends.engine.options import EngineOptions
from backends.errors import BackendFailed

FOLDER = Path("model")


def test_blocks_for_a_few_windows_are_taken_by_default_within_reason() -> None:
    options = EngineOptions(FOLDER, block_size=16)
    assert options.num_blocks_for(1000) == 250
    assert options.num_blocks_for(32_768) == 4096
    assert options.num_blocks_for(100_001) == 6251


def test_a_window_always_fits_into_the_blocks() -> None:
    for window in (1, 15, 16, 17, 4095, 16_385, 65_535, 65_537):
        options = EngineOptions(FOLDER, block_size=16)
        assert options.num_blocks_for(window) * 16 >= window
    few = EngineOptions(FOLDER, block_size=16, num_blocks=10)
    assert few.window_within(4096) == 160 == few.num_blocks_for(160) * 16


def test_a_window_that_cannot_be_is_refused_with_the_limit_that_is_in_the_way() -> None:
    assert EngineOptions(FOLDER, window=100).window_within(4096) == 100
    with pytest.raises(BackendFailed, match="the model's window, 4096"):
        EngineOptions(FOLDER, window=5000).window_within(4096)
    with pytest.raises(BackendFailed, match="what 10 blocks hold, 160"):
        EngineOptions(FOLDER, window=161, num_blocks=10).window_within(4096)
