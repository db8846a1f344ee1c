"""The contract fake of tt-metal (tests/fakes/tt_metal), imported into this process for as long as a test needs it."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

HOME = Path(__file__).parent / "tt_metal"
_FOREIGN = ("torch", "ttnn", "models")


@dataclass(frozen=True, slots=True)
class Card:
    """Modules of the fake."""

    ttnn: Any
    torch: Any
    common: Any
    generator: Any

    @property
    def calls(self) -> list[str]:
        """What was done to the device: `fabric …`, `open …`, `close`."""
        calls: list[str] = self.ttnn.MACHINE.calls
        return calls


@contextmanager
def fake_card(**environment: str) -> Iterator[Card]:
    """environment: of its variables, such as FAKE_TT_METAL. Real ones are put aside meanwhile."""
    cleared = {name: value for name, value in os.environ.items() if not name.startswith(("TT_", "FAKE_TT", "MESH_"))}
    kept = {name: module for name, module in sys.modules.items() if not _is_foreign(name)}
    with (
        patch.dict(os.environ, {**cleared, **environment}, clear=True),
        patch.dict(sys.modules, kept, clear=True),
        patch.object(sys, "path", [str(HOME), *sys.path]),
    ):
        yield Card(
            importlib.import_module("ttnn"),
            importlib.import_module("torch"),
            importlib.import_module("models.tt_transformers.tt.common"),
            importlib.import_module("models.tt_transformers.tt.generator"),
        )


def _is_foreign(name: str) -> bool:
    return name.partition(".")[0] in _FOREIGN
