"""Every served dialect answers as its own server does. `python -m tests.conformance` prints the same as a table."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.routing import Match, RouteTable
from tests.conformance.case import Case
from tests.conformance.deviations import DIALECTS_SERVED, NOT_COMPARED, ON_PURPOSE, Deviation
from tests.conformance.ground import PROFILES, Ground, running
from tests.conformance.suite import Outcome, all_cases, differences_found, run, table, why_not_run

README = (Path(__file__).parents[2] / "README.md").read_text()
CASES = {case.id: case for case in all_cases()}
RUN = [case for case in all_cases() if why_not_run(case) is None]


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    with running() as ground:
        yield ground


@pytest.mark.parametrize("case", RUN, ids=lambda case: case.id)
def test_answers_as_that_server_does(case: Case, ground: Ground) -> None:
    assert not run(case, ground)


def test_the_readme_shows_the_table() -> None:
    """Each case above passes or the suite is red, so what `make conformance` prints is known without a second run."""
    shown = README.partition("<!-- conformance -->\n")[2].partition("\n<!-- /conformance -->")[0]
    assert shown == table([Outcome(case, ()) for case in RUN]), (
        "run: make conformance, and paste the table in README.md"
    )


def test_every_case_can_be_placed() -> None:
    assert len(CASES) == len(all_cases()), "two cases have one id"
    unknown = {case.profile for case in RUN} - set(PROFILES)
    assert not unknown, f"cases are sent to profiles that nobody plays: {unknown}"


def test_whoever_is_let_off_exists() -> None:
    """A reason that outlives its case would hide the next one of that name."""
    patterns = [*NOT_COMPARED, *(deviation.case for deviation in ON_PURPOSE)]
    idle = [pattern for pattern in patterns if not any(re.fullmatch(pattern, name) for name in CASES)]
    dialects = {case.dialect for case in all_cases()}
    assert (idle, [name for name in DIALECTS_SERVED if name not in dialects]) == ([], [])


def test_what_is_routed_is_compared() -> None:
    """A route that is served but not on the list of served dialects would go unproved."""
    table = RouteTable()
    idle = [case for case in all_cases() if case.dialect not in DIALECTS_SERVED]
    ours = [case for case in idle if case.dialect.partition("/")[0] in DIALECTS_SERVED]
    asked = [(case.dialect, case.request.method, case.request.path.partition("?")[0]) for case in ours]
    assert not {dialect for dialect, *route in asked if isinstance(table.find(*route), Match)}


@pytest.mark.parametrize("meant", ON_PURPOSE, ids=lambda meant: meant.case)
def test_what_is_meant_to_differ_differs(meant: Deviation, ground: Ground) -> None:
    """A deviation that is gone must go from the list."""
    cases = [case for case in RUN if re.fullmatch(meant.case, case.id)]
    found = [problem for case in cases for problem in differences_found(case, ground)]
    assert not cases or any(re.fullmatch(meant.problem, problem, re.DOTALL) for problem in found)
