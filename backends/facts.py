"""What is known of a server that a model runs in. Values only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce

from backends.accent import Accent


@dataclass(frozen=True, slots=True)
class Facts:
    """model: what it is called there. adapters: the names of its LoRAs, each of which can be asked for in its place.
    window: 0 where the server doesn't say. capabilities: as in backends.base.ModelInfo; lacks: those that it said it
    doesn't have, whatever the model was made for. is_whole: it answered all that it was asked.
    """

    accent: Accent
    model: str
    adapters: tuple[str, ...] = ()
    window: int = 0
    capabilities: frozenset[str] = frozenset({"completion"})
    lacks: frozenset[str] = frozenset()
    chat_template: str = ""
    is_whole: bool = True

    def lists_as(self, other: Facts) -> bool:
        """Do both have the same models?"""
        return (self.accent, self.model, self.adapters) == (other.accent, other.model, other.adapters)


def common(facts: Sequence[Facts]) -> Facts | None:
    """What holds of whichever of several servers answers; None of none. An adapter is asked for where it is."""
    return reduce(_common, facts) if facts else None


def _common(one: Facts, other: Facts) -> Facts:
    windows = [window for window in (one.window, other.window) if window]
    return replace(
        one,
        adapters=tuple(dict.fromkeys((*one.adapters, *other.adapters))),
        window=min(windows, default=0),
        capabilities=one.capabilities & other.capabilities,
        lacks=one.lacks | other.lacks,
    )
