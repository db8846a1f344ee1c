"""`python -m tests.conformance`: the table, then each failure. Exits 1 when there is one.

Arguments are patterns: only the cases whose `dialect` or `source/name` matches are run.
"""

from __future__ import annotations

import collections
import fnmatch
import sys
from collections.abc import Sequence

from gateway.log import configure
from tests.conformance.case import Case
from tests.conformance.ground import running
from tests.conformance.suite import Outcome, all_cases, run, table, why_not_run


def main(patterns: Sequence[str]) -> int:
    configure("error", "text")
    cases = [case for case in all_cases() if why_not_run(case) is None and _is_wanted(case, patterns)]
    with running() as ground:
        outcomes = [Outcome(case, run(case, ground)) for case in cases]
    print(table(outcomes))
    let_off = collections.Counter(reason for case in all_cases() if (reason := why_not_run(case)))
    print(f"\n{len(outcomes)} cases run; {let_off.total()} let off:")
    for reason, count in let_off.most_common():
        print(f"  {count:4} {reason}")
    failed = [outcome for outcome in outcomes if outcome.problems]
    for outcome in failed:
        print(f"\n{outcome.case.id} ({outcome.case.request.method} {outcome.case.request.path[:60]})")
        for problem in outcome.problems:
            print(f"  {problem}")
    return 1 if failed else 0


def _is_wanted(case: Case, patterns: Sequence[str]) -> bool:
    names = (case.id, case.dialect)
    return not patterns or any(fnmatch.fnmatch(name, pattern) for name in names for pattern in patterns)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
