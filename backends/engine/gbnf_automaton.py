"""Which characters can make a complete text of a regular part of a grammar longer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from backends.engine.gbnf_rules import Rules
from backends.engine.gbnf_tree import Alternatives, Chars, Literal, Node, Reference, Repeat, Sequence

MAX_POSITIONS = 2000
MAX_STATES = 500
MAX_DEPTH = 200


class TooLarge(Exception):
    """The part has more states than are worth looking at."""


@dataclass(frozen=True, slots=True)
class _Fragment:
    """Where its text can begin and end: sets of positions, a bit for each."""

    is_nullable: bool
    first: int
    last: int


def extensions(node: Node, rules: Rules) -> int:
    """What can come after some complete text of `node` and still be `node`: pieces of the rules' alphabet.

    Never too few; too many where repetitions are counted, because counts are taken for no limit. Raises TooLarge.
    """
    automaton = _Automaton(rules)
    return automaton.extensions(automaton.add(node))


class _Automaton:
    """Glushkov's: a state for each place in the part where a character stands."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._pieces: list[int] = []  # by position: the characters there
        self._next: list[int] = []  # by position: the positions that may come after it

    def add(self, node: Node, depth: int = 0) -> _Fragment:
        if depth > MAX_DEPTH:
            raise TooLarge
        match node:
            case Chars():
                return self._add_position(self._rules.alphabet.chars(node))
            case Literal(text):
                return self._join(self._add_position(self._rules.alphabet.char(char)) for char in text)
            case Reference(name):
                return self.add(self._rules.bodies[name], depth + 1)
            case Sequence(items):
                return self._join(self.add(item, depth + 1) for item in items)
            case Alternatives(options):
                return self._choose([self.add(option, depth + 1) for option in options])
            case Repeat(item, least, most):
                inner = self.add(item, depth + 1)
                if most != 1:
                    self._connect(inner.last, inner.first)
                return _Fragment(inner.is_nullable or least == 0, inner.first, inner.last)
            case _:
                raise TooLarge  # a token, which no automaton of characters can read

    def _add_position(self, pieces: int) -> _Fragment:
        position = 1 << len(self._pieces)
        self._pieces.append(pieces)
        self._next.append(0)
        if len(self._pieces) > MAX_POSITIONS:
            raise TooLarge
        return _Fragment(False, position, position)

    def _join(self, fragments: Iterator[_Fragment]) -> _Fragment:
        whole = _Fragment(True, 0, 0)
        for part in fragments:
            self._connect(whole.last, part.first)
            whole = _Fragment(
                whole.is_nullable and part.is_nullable,
                whole.first | (part.first if whole.is_nullable else 0),
                part.last | (whole.last if part.is_nullable else 0),
            )
        return whole

    def _choose(self, fragments: list[_Fragment]) -> _Fragment:
        first = last = 0
        for part in fragments:
            first, last = first | part.first, last | part.last
        return _Fragment(any(part.is_nullable for part in fragments), first, last)

    def _connect(self, before: int, after: int) -> None:
        for position in bits(before):
            self._next[position] |= after

    def extensions(self, whole: _Fragment) -> int:
        """By building the deterministic automaton: a state is the positions that the last character may have had."""
        found = self._pieces_at(whole.first) if whole.is_nullable else 0
        seen: set[int] = set()
        waiting = [self._after_reading(whole.first)]
        while waiting:
            for state in waiting.pop() - seen:
                seen.add(state)
                if len(seen) > MAX_STATES:
                    raise TooLarge
                following = 0
                for position in bits(state):
                    following |= self._next[position]
                if state & whole.last:
                    found |= self._pieces_at(following)
                waiting.append(self._after_reading(following))
        return found

    def _pieces_at(self, positions: int) -> int:
        found = 0
        for position in bits(positions):
            found |= self._pieces[position]
        return found

    def _after_reading(self, positions: int) -> set[int]:
        """For each character that may come: the positions, of these, that it may have."""
        by_piece: dict[int, int] = {}
        for position in bits(positions):
            for piece in bits(self._pieces[position]):
                by_piece[piece] = by_piece.get(piece, 0) | 1 << position
        return set(by_piece.values())


def bits(number: int) -> Iterator[int]:
    """The places of the ones."""
    while number:
        lowest = number & -number
        yield lowest.bit_length() - 1
        number ^= lowest
