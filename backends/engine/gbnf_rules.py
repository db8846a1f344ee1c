"""What can be known of a GBNF grammar's rules without reading any text: recursion, emptiness, first characters."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping

from typing_extensions import assert_never

from backends.engine.gbnf_tree import (
    LAST_CODE_POINT,
    Alternatives,
    Chars,
    GbnfError,
    Literal,
    Node,
    Reference,
    Repeat,
    Sequence,
    Token,
    alternatives,
    sequence,
)


class Alphabet:
    """The code points, cut wherever the grammar cuts them; a set of pieces is an int with a bit for each."""

    def __init__(self, rules: Mapping[str, Node]) -> None:
        edges = {0, LAST_CODE_POINT + 1}
        for body in rules.values():
            for node in walk(body):
                if isinstance(node, Chars):
                    edges |= {edge for low, high in node.ranges for edge in (low, high + 1)}
                elif isinstance(node, Literal):
                    edges |= {edge for char in node.text for edge in (ord(char), ord(char) + 1)}
        self._edges = sorted(edges)
        self.everything = (1 << (len(self._edges) - 1)) - 1

    def chars(self, node: Chars) -> int:
        pieces = 0
        for low, high in node.ranges:
            first, last = bisect_left(self._edges, low), bisect_left(self._edges, high + 1)
            pieces |= (1 << last) - (1 << first)
        return pieces

    def char(self, char: str) -> int:
        return 1 << bisect_left(self._edges, ord(char))


class Rules:
    """Rules whose direct recursion is written as repetition, with what is known of them.

    is_regular: a part whose text can be matched by a regular expression.
    """

    def __init__(self, rules: Mapping[str, Node]) -> None:
        """Raises GbnfError for a rule that can never come to its end."""
        self.bodies = {name: _without_direct_recursion(name, body) for name, body in rules.items()}
        self.alphabet = Alphabet(self.bodies)
        # Grammars go from the top down, or from the bottom up: so news travels far in one round.
        self._there_and_back = [*self.bodies.items(), *reversed(self.bodies.items())]
        self._nullable: set[str] = set()
        self._first = dict.fromkeys(self.bodies, 0)
        self._settle()
        self._irregular = self._find_irregular()
        self._check_ends()

    def is_nullable(self, node: Node) -> bool:
        """Can it be empty?"""
        match node:
            case Chars() | Literal() | Token():
                return False
            case Reference(name):
                return name in self._nullable
            case Sequence(items):
                return all(map(self.is_nullable, items))
            case Alternatives(options):
                return any(map(self.is_nullable, options))
            case Repeat(item, least, _):
                return least == 0 or self.is_nullable(item)
            case _:
                assert_never(node)

    def first(self, node: Node) -> int:
        """What its text can begin with. A token may begin with anything."""
        match node:
            case Chars():
                return self.alphabet.chars(node)
            case Literal(text):
                return self.alphabet.char(text[0])
            case Token():
                return self.alphabet.everything
            case Reference(name):
                return self._first[name]
            case Sequence(items):
                return self._first_of_sequence(items)
            case Alternatives(options):
                return _union(map(self.first, options))
            case Repeat(item, _, _):
                return self.first(item)
            case _:
                assert_never(node)

    def _first_of_sequence(self, items: tuple[Node, ...]) -> int:
        pieces = 0
        for item in items:
            pieces |= self.first(item)
            if not self.is_nullable(item):
                break
        return pieces

    def is_regular(self, node: Node) -> bool:
        return not any(
            isinstance(inner, Token) or (isinstance(inner, Reference) and inner.name in self._irregular)
            for inner in walk(node)
        )

    def _settle(self) -> None:
        """Rules speak of one another: look at all of them until nothing new comes up."""
        is_settled = False
        while not is_settled:
            is_settled = True
            for name, body in self._there_and_back:
                first, is_nullable = self.first(body), self.is_nullable(body)
                if first != self._first[name] or is_nullable != (name in self._nullable):
                    self._first[name] = first
                    self._nullable |= {name} if is_nullable else set()
                    is_settled = False

    def _find_irregular(self) -> set[str]:
        """Rules that lead to themselves or to a token, and those that lead to such rules."""
        regular: set[str] = set()

        def is_regular(node: Node) -> bool:
            return all(
                node.name in regular if isinstance(node, Reference) else not isinstance(node, Token)
                for node in walk(node)
            )

        self._grow(regular, is_regular)
        return self.bodies.keys() - regular

    def _check_ends(self) -> None:
        ending: set[str] = set()
        self._grow(ending, lambda body: _can_end(body, ending))
        if endless := sorted(self.bodies.keys() - ending):
            raise GbnfError(f"the rule '{endless[0]}' can never come to its end")

    def _grow(self, names: set[str], belongs: Callable[[Node], bool]) -> None:
        """Adds every rule that belongs, whereupon others may."""
        num_known = -1
        while len(names) > num_known:
            num_known = len(names)
            for name, body in self._there_and_back:
                if name not in names and belongs(body):
                    names.add(name)


def walk(node: Node) -> Iterator[Node]:
    """It and everything in it, but not what its references name."""
    yield node
    match node:
        case Sequence(inner) | Alternatives(inner):
            for each in inner:
                yield from walk(each)
        case Repeat(item, _, _):
            yield from walk(item)


def _can_end(node: Node, ending: set[str]) -> bool:
    match node:
        case Chars(ranges):
            return bool(ranges)
        case Reference(name):
            return name in ending
        case Sequence(items):
            return all(_can_end(item, ending) for item in items)
        case Alternatives(options):
            return any(_can_end(option, ending) for option in options)
        case Repeat(item, least, _):
            return least == 0 or _can_end(item, ending)
        case Literal() | Token():
            return True
        case _:
            assert_never(node)


def _union(sets: Iterator[int]) -> int:
    whole = 0
    for pieces in sets:
        whole |= pieces
    return whole


def _without_direct_recursion(name: str, body: Node) -> Node:
    """`r ::= x r | y` is `x* y`, and `r ::= r x | y` is `y x*`: grammars for llama.cpp repeat things in this way, and
    a parser that has to nest them comes to its limits after some hundred."""
    itself = Reference(name)
    options = [option for option in _options(body) if option != (itself,)]
    for place in (-1, 0):
        recursive = [option for option in options if option and option[place] == itself]
        bases = [sequence(list(option)) for option in options if option not in recursive]
        steps = [sequence(list(option[:-1] if place else option[1:])) for option in recursive]
        if recursive and bases and not any(itself in walk(part) for part in (*bases, *steps)):
            many, base = Repeat(alternatives(steps), 0, None), alternatives(bases)
            return sequence([many, base] if place else [base, many])
    return body


def _options(node: Node) -> Iterator[tuple[Node, ...]]:
    match node:
        case Alternatives(options):
            for option in options:
                yield from _options(option)
        case Repeat(item, 0, 1):
            yield from _options(item)
            yield ()
        case Sequence((only,)):
            yield from _options(only)
        case Sequence(items):
            yield items
        case _:
            yield (node,)
