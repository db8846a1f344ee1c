"""All cases, and what came of them."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.conformance import expectations, recordings, vectors
from tests.conformance.case import COLUMNS, GOLDEN, Case, Column, family_of
from tests.conformance.deviations import DIALECTS_SERVED, deviates, deviation, reason_not_compared
from tests.conformance.ground import Ground
from tests.conformance.wire import BadFraming, exchange

FROM_SOURCE = (
    "ollama",
    "tgi",
    "kobold",
    "tenstorrent",
    "mistral",
    "copilot",
    "fauxpilot",
    "tabby",
    "lmstudio",
    "textgen",
)
"""Dialects whose expectations were read from their server's source."""


@functools.cache
def all_cases() -> Sequence[Case]:
    """Every case that the golden folder holds, whether it can be run or not."""
    return (
        *recordings.load(GOLDEN / "llama-server"),
        *recordings.load(GOLDEN / "llama-cpp-python"),
        *(case for dialect in FROM_SOURCE for case in expectations.load(GOLDEN / dialect)),
        *vectors.load(GOLDEN / "vectors.jsonl"),
    )


def why_not_run(case: Case) -> str | None:
    """The reason why a case is let off, or None."""
    if case.dialect not in DIALECTS_SERVED:
        return f"{case.dialect} is not served yet"
    return reason_not_compared(case.id)


def run(case: Case, ground: Ground) -> list[str]:
    """What is wrong, one line each; what is meant to be otherwise is left out."""
    return [problem for problem in differences_found(case, ground) if deviation(case.id, problem) is None]


def differences_found(case: Case, ground: Ground) -> list[str]:
    try:
        answer = exchange(ground.host, ground.port(case.profile, case.persona), case.request)
    except LookupError:
        return [f"nobody plays the profile {case.profile!r} as {case.persona!r}"]
    except (BadFraming, OSError) as error:
        return [f"{type(error).__name__}: {error}"]
    return case.check(answer)


@dataclass(frozen=True, slots=True)
class Outcome:
    case: Case
    problems: Sequence[str]


def run_all(ground: Ground) -> Iterator[Outcome]:
    for case in all_cases():
        if why_not_run(case) is None:
            yield Outcome(case, run(case, ground))


def table(outcomes: Sequence[Outcome]) -> str:
    """As Markdown: dialect × column, how many passed of how many; the last column counts those that deviate by intent,
    which the others leave out."""
    ran = {outcome.case.family for outcome in outcomes}
    families = [name for name in dict.fromkeys(map(family_of, DIALECTS_SERVED)) if name in ran]
    header = ["| dialect | " + " | ".join(COLUMNS) + " | deviate |", "|---|" + "---|" * (len(COLUMNS) + 1)]
    return "\n".join([*header, *(_row(name, [x for x in outcomes if x.case.family == name]) for name in families)])


def _row(family: str, outcomes: Sequence[Outcome]) -> str:
    compared = [outcome for outcome in outcomes if not deviates(outcome.case.id)]
    num_let_off = sum(case.family == family and reason_not_compared(case.id) is not None for case in all_cases())
    cells = [family, *(_cell(compared, column) for column in COLUMNS)]
    return f"| {' | '.join(cells)} | {len(outcomes) - len(compared) + num_let_off or ''} |"


def _cell(outcomes: Sequence[Outcome], column: Column) -> str:
    mine = [outcome for outcome in outcomes if outcome.case.column == column]
    num_passed = sum(not outcome.problems for outcome in mine)
    return f"{num_passed}/{len(mine)}" if mine else ""
