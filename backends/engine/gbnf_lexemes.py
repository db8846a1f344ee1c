"""Cuts a GBNF grammar into lexemes for llguidance, whose lexer always takes the longest one.

GBNF speaks of single characters, but characters as lexemes make masks some seventy times slower (measured on
llama.cpp's json.gbnf with 32,000 tokens: 1.4 ms against 0.02 ms). So parts that are regular expressions become lexemes
wherever the longest match provably changes nothing:

- what may come after a lexeme can't also make it longer, and
- of lexemes that may come at the same place, no two begin with the same character, unless both are single characters.

Parts that break this are cut smaller, in the worst case down to characters. Then the grammar's language is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import TypeAlias

from typing_extensions import assert_never

from backends.engine.gbnf_automaton import TooLarge, bits, extensions
from backends.engine.gbnf_rules import Rules
from backends.engine.gbnf_tree import Alternatives, Chars, Literal, Node, Reference, Repeat, Sequence, Token, sequence

MAX_PLACES = 2000
MAX_ROUNDS = 30


@dataclass(frozen=True, slots=True)
class Lexeme:
    """index: into the table of lexemes."""

    index: int


@dataclass(frozen=True, slots=True)
class Branch:
    """joins: one after the other, or one of them. Its parts are cut already."""

    parts: tuple[Cut, ...]
    joins: bool


@dataclass(frozen=True, slots=True)
class Many:
    item: Cut
    least: int
    most: int | None


Cut: TypeAlias = Lexeme | Reference | Branch | Many


@dataclass(slots=True)
class CutGrammar:
    """rules: those that aren't inside lexemes, `root` first. lexemes: regular parts, characters, and tokens."""

    rules: dict[str, Cut] = field(default_factory=dict)
    lexemes: list[Node] = field(default_factory=list)


def cut(rules: Rules) -> CutGrammar:
    """The coarsest cut that was found to be safe; into characters where none was found soon."""
    too_large: set[Node] = set()
    for _ in range(MAX_ROUNDS):
        grammar = _Cutter(rules, too_large).cut()
        conflicts = _Conflicts(rules, grammar).find()
        if not conflicts:
            return grammar
        too_large |= conflicts
    return _Cutter(rules, None).cut()


class _Cutter:
    """too_large: parts that mustn't be lexemes; None: everything but characters and tokens."""

    def __init__(self, rules: Rules, too_large: Collection[Node] | None) -> None:
        self._rules = rules
        self._too_large = too_large
        self._indices: dict[Node, int] = {}

    def cut(self) -> CutGrammar:
        grammar = CutGrammar()
        waiting = ["root"]
        while waiting:
            name = waiting.pop()
            if name not in grammar.rules:
                grammar.rules[name] = self._cut(self._rules.bodies[name])
                waiting += _references(grammar.rules[name])
        grammar.lexemes = list(self._indices)
        return grammar

    def _cut(self, node: Node) -> Cut:
        if self._is_lexeme(node):
            return Lexeme(self._indices.setdefault(node, len(self._indices)))
        match node:
            case Reference():
                return node
            case Literal(text):
                return Branch(tuple(self._cut(Chars(((ord(char), ord(char)),))) for char in text), joins=True)
            case Sequence(items):
                parts = items if self._rules.is_regular(node) else self._runs(items)
                return Branch(tuple(map(self._cut, parts)), joins=True)
            case Alternatives(options):
                return Branch(tuple(map(self._cut, options)), joins=False)
            case Repeat(item, 0, most) if most != 1 and not self._rules.is_nullable(item):
                return Many(self._cut(Repeat(item, 1, most)), 0, 1)
            case Repeat(item, least, most):
                return Many(self._cut(item), least, most)
            case Chars() | Token():
                raise AssertionError(node)
            case _:
                assert_never(node)

    def _is_lexeme(self, node: Node) -> bool:
        if isinstance(node, Chars | Token):
            return True
        if self._too_large is None or node in self._too_large:
            return False
        return self._rules.is_regular(node) and not self._rules.is_nullable(node)

    def _runs(self, items: tuple[Node, ...]) -> Iterator[Node]:
        """Neighbours that are regular, joined."""
        for is_regular, run in groupby(items, self._rules.is_regular):
            neighbours = list(run)
            yield from [sequence(neighbours)] if is_regular else neighbours


def _references(part: Cut) -> Iterator[str]:
    match part:
        case Reference(name):
            yield name
        case Branch(parts, _):
            for inner in parts:
                yield from _references(inner)
        case Many(item, _, _):
            yield from _references(item)
        case Lexeme():
            pass
        case _:
            assert_never(part)


class _Neighbours:
    """Which lexemes may come first, and which after which: sets of lexemes, a bit for each."""

    def __init__(self, grammar: CutGrammar) -> None:
        self._nullable: set[str] = set()
        self._first = dict.fromkeys(grammar.rules, 0)
        self._following = dict.fromkeys(grammar.rules, 0)
        self.after = [0] * len(grammar.lexemes)
        self._repeat_until_settled(list(reversed(grammar.rules.items())), self._learn_beginning)
        self.first = self._first["root"]
        self._repeat_until_settled(grammar.rules.items(), self._learn_following)

    def _repeat_until_settled(self, rules: Iterable[tuple[str, Cut]], learn: Callable[[str, Cut], None]) -> None:
        known = None
        while known != (now := (set(self._nullable), dict(self._first), dict(self._following), list(self.after))):
            known = now
            for name, body in rules:
                learn(name, body)

    def _learn_beginning(self, name: str, body: Cut) -> None:
        self._first[name] = self._beginning(body)
        if self._is_nullable(body):
            self._nullable.add(name)

    def _learn_following(self, name: str, body: Cut) -> None:
        self._follow(body, self._following[name])

    def _is_nullable(self, part: Cut) -> bool:
        match part:
            case Lexeme():
                return False
            case Reference(name):
                return name in self._nullable
            case Branch(parts, joins):
                return (all if joins else any)(map(self._is_nullable, parts))
            case Many(item, least, _):
                return least == 0 or self._is_nullable(item)
            case _:
                assert_never(part)

    def _beginning(self, part: Cut) -> int:
        match part:
            case Lexeme(index):
                return 1 << index
            case Reference(name):
                return self._first[name]
            case Branch(parts, joins):
                found = 0
                for inner in parts:
                    found |= self._beginning(inner)
                    if joins and not self._is_nullable(inner):
                        break
                return found
            case Many(item, _, _):
                return self._beginning(item)
            case _:
                assert_never(part)

    def _follow(self, part: Cut, following: int) -> None:
        """Notes that `following` may come after `part`."""
        match part:
            case Lexeme(index):
                self.after[index] |= following
            case Reference(name):
                self._following[name] |= following
            case Many(item, _, most):
                self._follow(item, following if most == 1 else following | self._beginning(item))
            case Branch(parts, joins):
                for inner in reversed(parts):
                    self._follow(inner, following)
                    if joins:
                        following = self._beginning(inner) | (following if self._is_nullable(inner) else 0)
            case _:
                assert_never(part)


class _Conflicts:
    """Goes through the places that text can come to. A place is the set of lexemes that may come there."""

    def __init__(self, rules: Rules, grammar: CutGrammar) -> None:
        self._rules = rules
        self._lexemes = grammar.lexemes
        self._neighbours = _Neighbours(grammar)
        self._first = [rules.first(lexeme) for lexeme in grammar.lexemes]
        self._extensions = [self._extensions_of(lexeme) for lexeme in grammar.lexemes]
        self._found: set[Node] = set()

    def find(self) -> set[Node]:
        """Lexemes that must be cut smaller."""
        seen: set[int] = set()
        waiting = [self._neighbours.first]
        while waiting:
            place = waiting.pop()
            if place in seen:
                continue
            seen.add(place)
            if len(seen) > MAX_PLACES:
                return {lexeme for lexeme in self._lexemes if not _is_single(lexeme)}
            waiting += self._look(place)
        return self._found

    def _look(self, place: int) -> Iterator[int]:
        """The places after this one."""
        by_piece: dict[int, int] = {}  # the single characters that are read alike
        for index in bits(place):
            lexeme, after = self._lexemes[index], self._neighbours.after[index]
            if _is_single(lexeme):
                for piece in bits(self._first[index]):
                    by_piece[piece] = by_piece.get(piece, 0) | after
            else:
                self._compare(index, place)
                if self._extensions[index] & self._first_of(after):
                    self._found.add(lexeme)
                yield after
        yield from set(by_piece.values())

    def _compare(self, index: int, place: int) -> None:
        for other in bits(place & ~(1 << index)):
            if self._first[index] & self._first[other]:
                pair = (self._lexemes[index], self._lexemes[other])
                self._found.add(max(pair, key=_size))

    def _first_of(self, place: int) -> int:
        found = 0
        for index in bits(place):
            found |= self._first[index]
        return found

    def _extensions_of(self, lexeme: Node) -> int:
        if _is_single(lexeme):
            return 0
        try:
            return extensions(lexeme, self._rules)
        except TooLarge:
            return self._rules.alphabet.everything


def _is_single(lexeme: Node) -> bool:
    return isinstance(lexeme, Chars | Token)


def _size(lexeme: Node) -> int:
    """Of two lexemes in conflict, the larger is cut: often that makes the other one of its parts."""
    kinds = (Chars, Token, Literal, Reference, Repeat, Alternatives, Sequence)
    return kinds.index(type(lexeme))
