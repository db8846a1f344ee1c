"""What a dead worker's log says about the cause, in one line. Pure.

Python's workers print the root cause first and then, on the way up, what each layer made of it; so the first error
counts, and only where there is none the last line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_PREFIX = re.compile(r"^(?:\(\w+ pid=\d+\) )?(?:[A-Z]+ [\d-]+ [\d:]+ \[[^\]]*\] )?")
_ERROR = re.compile(r"^[\w.]*(?:Error|Exception|Interrupt)(?:: .*|$)|^(?:error|fatal): .+", re.IGNORECASE)
_MAX_LINES = 150  # looked back at
_MAX_CHARS = 400


def last_words(log: Iterable[str]) -> str:
    """Empty for an empty log."""
    lines = [stripped for line in list(log)[-_MAX_LINES:] if (stripped := _PREFIX.sub("", line).strip())]
    cause = next((line for line in lines if _ERROR.match(line)), lines[-1] if lines else "")
    return cause[:_MAX_CHARS]
