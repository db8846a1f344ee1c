"""JSON as Go's encoding/json writes it, and the times, durations and quoted strings that Ollama puts into it.

Knows no route. Go escapes what could end a script inside HTML, which clients that look for a string notice; a time has
nanoseconds without trailing zeros; a duration is a whole number of nanoseconds (Go's encoding/json and time packages).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime, timezone
from functools import lru_cache
from typing import Any

from adapters.framing import to_json

FOREVER = math.inf
"""A duration without end, in seconds."""

_ESCAPES = (
    (b"<", rb"\u003c"),
    (b">", rb"\u003e"),
    (b"&", rb"\u0026"),
    ("\u2028".encode(), rb"\u2028"),
    ("\u2029".encode(), rb"\u2029"),
)
_TO_ESCAPE = re.compile(rb"[<>&\xe2]")  # 0xE2 begins the two line ends in UTF-8
_SHORT_QUOTES: Mapping[str, str] = {
    '"': r"\"", "\\": r"\\", "\a": r"\a", "\b": r"\b", "\f": r"\f", "\n": r"\n", "\r": r"\r", "\t": r"\t", "\v": r"\v",
}  # fmt: skip
_LOWEST_FLOAT = -3.4028234663852886e38
_UNIT_S: Mapping[str, float] = {
    "ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0,
}  # fmt: skip
_DURATION_PART = re.compile(r"(?P<number>\d+\.?\d*|\.\d+)(?P<unit>[^\d.]*)")


def go_json(value: Any) -> bytes:
    """As framing.to_json, with `<`, `>`, `&` and the two Unicode line ends escaped. No line break at the end."""
    return go_escaped(to_json(value))


def go_escaped(data: bytes) -> bytes:
    """JSON as it is → as Go writes it: those characters stand nowhere but inside strings."""
    if not _TO_ESCAPE.search(data):
        return data
    for raw, escaped in _ESCAPES:
        data = data.replace(raw, escaped)
    return data


def go_number(value: float) -> float | int:
    """Go writes a float without a fraction as an integer, and has no way to write an infinite one."""
    if value.is_integer():
        return int(value)
    return value if math.isfinite(value) else _LOWEST_FLOAT


def go_time(time_ns: int) -> str:
    """Nanoseconds since the epoch → `2026-08-21T10:00:00.12Z`."""
    seconds, fraction = divmod(time_ns, 10**9)
    if fraction % 10:
        return f"{_whole_seconds(seconds)}.{fraction:09d}Z"
    return f"{_whole_seconds(seconds)}.{fraction:09d}".rstrip("0").rstrip(".") + "Z"


@lru_cache(maxsize=8)
def _whole_seconds(seconds: int) -> str:
    """Every line of a stream has a time, and most lines share their second with the one before."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")


def nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)


def quoted(text: str) -> str:
    """As Go's `%q`."""
    return '"' + "".join(map(_quoted_character, text)) + '"'


def _quoted_character(character: str) -> str:
    short = _SHORT_QUOTES.get(character)
    if short or character.isprintable():
        return short or character
    code = ord(character)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def parse_duration(text: str) -> float:
    """`1h30m`, `-1.5s`, `0` → seconds. Raises ValueError in the words of Go's time.ParseDuration."""
    sign = -1.0 if text.startswith("-") else 1.0
    rest = text[1:] if text[:1] in ("-", "+") else text
    if rest == "0":
        return 0.0
    if not rest:
        raise ValueError(f"time: invalid duration {quoted(text)}")
    total = 0.0
    while rest:
        part = _DURATION_PART.match(rest)
        if part is None:
            raise ValueError(f"time: invalid duration {quoted(text)}")
        unit = part["unit"]
        if not unit:
            raise ValueError(f"time: missing unit in duration {quoted(text)}")
        if unit not in _UNIT_S:
            raise ValueError(f"time: unknown unit {quoted(unit)} in duration {quoted(text)}")
        total += float(part["number"]) * _UNIT_S[unit]
        rest = rest[part.end() :]
    return sign * total
