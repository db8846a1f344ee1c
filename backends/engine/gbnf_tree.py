"""The tree of a GBNF grammar. Its nodes are values: equal parts of a grammar are equal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

LAST_CODE_POINT = 0x10FFFF
SURROGATES = (0xD800, 0xDFFF)

Range: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Chars:
    """One code point of these ranges (ends included), which are in order and apart."""

    ranges: tuple[Range, ...]


@dataclass(frozen=True, slots=True)
class Literal:
    """Two code points or more, in this order."""

    text: str


@dataclass(frozen=True, slots=True)
class Token:
    """One token of the model, whatever it stands for; or any token but this one."""

    id: int
    is_excluded: bool


@dataclass(frozen=True, slots=True)
class Reference:
    name: str


@dataclass(frozen=True, slots=True)
class Sequence:
    """Empty: nothing at all is said."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Alternatives:
    options: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """most: None for no limit."""

    item: Node
    least: int
    most: int | None


Node: TypeAlias = Chars | Literal | Token | Reference | Sequence | Alternatives | Repeat


class GbnfError(Exception):
    """What is wrong, and in which line."""


def sequence(items: list[Node]) -> Node:
    return items[0] if len(items) == 1 else Sequence(tuple(items))


def alternatives(options: list[Node]) -> Node:
    return options[0] if len(options) == 1 else Alternatives(tuple(options))


def literal(text: str) -> Node:
    if len(text) > 1:
        return Literal(text)
    return Chars(((ord(text), ord(text)),)) if text else Sequence(())


def char_class(ranges: list[Range], *, is_negated: bool) -> Chars:
    joined: list[Range] = []
    for low, high in sorted([*ranges, SURROGATES] if is_negated else ranges):
        if joined and low <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(high, joined[-1][1]))
        else:
            joined.append((low, high))
    if not is_negated:
        return Chars(tuple(joined))
    edges = [-1, *(edge for pair in joined for edge in pair), LAST_CODE_POINT + 1]
    gaps = ((before + 1, after - 1) for before, after in zip(edges[::2], edges[1::2], strict=True))
    return Chars(tuple(gap for gap in gaps if gap[0] <= gap[1]))


ANY_CHAR = char_class([], is_negated=True)
