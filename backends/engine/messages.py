"""What the engine's thread is told, and what it tells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from backends.engine.job import Job
from backends.errors import BackendFailed
from backends.events import Event


@dataclass(frozen=True, slots=True)
class Submit:
    job: Job


@dataclass(frozen=True, slots=True)
class Cancel:
    """Nothing more will be said of the job."""

    job: Job


@dataclass(frozen=True, slots=True)
class Stop:
    """The thread ends after this step, and leaves what it has unanswered."""


Message: TypeAlias = Submit | Cancel | Stop


@dataclass(slots=True)
class Report:
    """What one or more steps brought for one job. is_last: nothing will follow; always so with an error, which comes
    after the events. is_urgent: someone waits for it."""

    job: Job
    events: list[Event] = field(default_factory=list)
    error: BackendFailed | None = None
    is_last: bool = False
    is_urgent: bool = False


Publish: TypeAlias = Callable[[Sequence[Report]], None]
"""Takes everything that has come for some jobs since it was last told of them. Called from the engine's thread."""
