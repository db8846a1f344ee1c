"""A request inside the engine: its choices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from backends.engine.choice import Choice
from backends.request import Intent


@dataclass(slots=True, eq=False)
class Job:
    """request_id: the client's. num_open: choices that aren't finished; at 0 the job has ended."""

    request_id: str
    choices: Sequence[Choice]
    num_open: int = field(init=False)

    def __post_init__(self) -> None:
        self.num_open = len(self.choices)

    @property
    def is_completion(self) -> bool:
        return self.choices[0].sequence.intent is Intent.COMPLETION


@dataclass(frozen=True, slots=True)
class Member:
    """Whose a sequence is."""

    job: Job
    choice: Choice
