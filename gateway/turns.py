"""Whose turn it is on a device that holds one model at a time. Pure policy: no clock, no effects.

Swapping models costs seconds, so requests for the loaded model go first; but only for so long: once somebody has
waited for `patience_s`, the loaded model takes no new requests, finishes what it has, and gives way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Serve:
    """Requests for the loaded model may go on."""


@dataclass(frozen=True, slots=True)
class Drain:
    """No new requests: somebody has waited long enough, and what runs must end first."""


@dataclass(frozen=True, slots=True)
class Swap:
    """Nothing runs: load this one instead."""

    model: str


Turn: TypeAlias = Serve | Drain | Swap


def next_turn(
    loaded: str | None, num_running: int, waiting_since: Mapping[str, float], now: float, patience_s: float
) -> Turn:
    """waiting_since: for each model that somebody waits for, when the longest of them came (in seconds, as now)."""
    others = {model: since for model, since in waiting_since.items() if model != loaded}
    if not others:
        return Serve()
    longest = min(others, key=lambda model: others[model])
    is_wanted = num_running > 0 or loaded in waiting_since
    if is_wanted and now - others[longest] < patience_s:
        return Serve()
    return Drain() if num_running else Swap(longest)
