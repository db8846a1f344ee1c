"""How much longer a text becomes by one of jinja's filters or Python's methods, told before it is made.

Keyed by name, for filters and methods have the same names and take the same arguments: the value, then the others.
Lengths are in characters. None of these needs to be exact: what is made is counted once more.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

Growth: TypeAlias = Callable[..., int]

MAX_DEPTH = 16
"""Of what `tojson` indents, by how much an indent counts."""

_WIDTH = re.compile(r"\d+")
_INNER_WIDTH = re.compile(r"\*|:[^}]*\{")  # taken from an argument: `%*d`, `{:{}}`


def _to_width(value: Any, width: int = 80, *_: Any) -> int:
    return max(len(str(value)), width)


def _tabbed(value: str, tabsize: int = 8) -> int:
    return len(value) * max(tabsize, 1)


def _replaced(value: Any, old: Any, new: Any, *_: Any) -> int:
    return len(value) + str(value).count(str(old)) * len(str(new))


def _indented(value: str, width: int | str = 4, *_: Any, **__: Any) -> int:
    return len(value) + (value.count("\n") + 1) * (width if isinstance(width, int) else len(width))


def _wrapped(value: str, _width: int = 79, _breaks: bool = True, wrapstring: str | None = None, *_: Any) -> int:
    return len(value) * (1 + len(wrapstring or ""))


def _count(_value: Any, count: int, *_: Any) -> int:
    return count


def _translated(value: str, table: Mapping[int, Any]) -> int:
    return len(value) * max((len(str(each)) for each in table.values()), default=1)


def _json(value: Any, *_: Any, indent: int | None = None, **__: Any) -> int:
    return len(value) * (indent or 0) * MAX_DEPTH if isinstance(value, list | tuple | dict) else 0


def _formatted(pattern: str, *args: Any, **kwargs: Any) -> int:
    """Fields may repeat an argument, and pad it to any width, which may be an argument too."""
    values = [*args, *kwargs.values()]
    widths = [int(width) for width in _WIDTH.findall(pattern)]
    if _INNER_WIDTH.search(pattern):
        widths += [abs(value) for value in _flat(values) if isinstance(value, int)]
    longest = max((len(value) for value in _flat(values) if isinstance(value, str)), default=0)
    num_fields = pattern.count("%") + pattern.count("{")
    return len(pattern) + num_fields * (longest + max(widths, default=0))


def _flat(values: Iterable[Any]) -> Iterable[Any]:
    for value in values:
        match value:
            case dict():
                yield from value.values()
            case list() | tuple():
                yield from value
            case _:
                yield value


GROWTHS: Mapping[str, Growth] = {
    "center": _to_width,
    "ljust": _to_width,
    "rjust": _to_width,
    "zfill": _to_width,
    "expandtabs": _tabbed,
    "replace": _replaced,
    "indent": _indented,
    "wordwrap": _wrapped,
    "batch": _count,
    "slice": _count,
    "to_bytes": _count,
    "translate": _translated,
    "tojson": _json,
    "format": _formatted,
    "format_map": lambda pattern, values: _formatted(pattern, **values),
}
