"""GBNF, written as llguidance's Lark."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from typing_extensions import assert_never

from backends.engine.gbnf import parse
from backends.engine.gbnf_lexemes import Branch, Cut, CutGrammar, Lexeme, Many, cut
from backends.engine.gbnf_rules import Rules, walk
from backends.engine.gbnf_tree import Alternatives, Chars, GbnfError, Literal, Node, Reference, Repeat, Sequence, Token
from backends.errors import InvalidField


def gbnf_to_lark(grammar: str, start: str, token_id: Callable[[str], int | None]) -> str:
    """Lark whose rule `start` is the grammar's `root`; its other names begin with `gbnf`.

    token_id: as the tokenizer has it. Raises InvalidField that names `grammar` and the line.
    """
    try:
        rules = Rules(parse(grammar, token_id))
        return _Writer(rules, cut(rules)).write(start)
    except GbnfError as error:
        raise InvalidField("grammar", str(error), grammar) from None
    except RecursionError:
        raise InvalidField("grammar", "rules are nested too deeply", grammar) from None


class _Writer:
    """Rules are numbered, because GBNF's names may be anything; lexemes and the rules inside them are upper-case."""

    def __init__(self, rules: Rules, grammar: CutGrammar) -> None:
        self._rules = rules
        self._grammar = grammar
        self._numbers = {name: number for number, name in enumerate(rules.bodies)}

    def write(self, start: str) -> str:
        rules = [f"{self._rule(name)}: {self._cut(part)}" for name, part in self._grammar.rules.items()]
        lexemes = [
            f"GBNF_LEXEME{index}: {self._node(node)}"
            for index, node in enumerate(self._grammar.lexemes)
            if not isinstance(node, Token)
        ]
        inner = [f"{self._inner(name)}: {self._node(self._rules.bodies[name])}" for name in self._names_in_lexemes()]
        return "\n".join([f"{start}: {self._rule('root')}", *rules, *lexemes, *inner])

    def _names_in_lexemes(self) -> Iterator[str]:
        waiting, seen = list(self._grammar.lexemes), set()
        while waiting:
            for node in walk(waiting.pop()):
                if isinstance(node, Reference) and node.name not in seen:
                    seen.add(node.name)
                    waiting.append(self._rules.bodies[node.name])
                    yield node.name

    def _rule(self, name: str) -> str:
        return f"gbnf_rule{self._numbers[name]}"

    def _inner(self, name: str) -> str:
        return f"GBNF_RULE{self._numbers[name]}"

    def _cut(self, part: Cut) -> str:
        match part:
            case Lexeme(index):
                lexeme = self._grammar.lexemes[index]
                return _token(lexeme) if isinstance(lexeme, Token) else f"GBNF_LEXEME{index}"
            case Reference(name):
                return self._rule(name)
            case Branch(parts, joins):
                return _group(map(self._cut, parts), " " if joins else " | ")
            case Many(item, least, most):
                return _counted(self._cut(item), least, most)
            case _:
                assert_never(part)

    def _node(self, node: Node) -> str:
        match node:
            case Chars(ranges):
                return "/[" + "".join(f"\\x{{{low:x}}}-\\x{{{high:x}}}" for low, high in ranges) + "]/"
            case Literal(text):
                return json.dumps(text, ensure_ascii=False)
            case Reference(name):
                return self._inner(name)
            case Sequence(items):
                return _group(map(self._node, items), " ")
            case Alternatives(options):
                return _group(map(self._node, options), " | ")
            case Repeat(item, least, most):
                return _counted(self._node(item), least, most)
            case Token():
                raise AssertionError(node)  # it is a lexeme of its own
            case _:
                assert_never(node)


def _group(parts: Iterator[str], separator: str) -> str:
    """An empty sequence is the empty string."""
    return "(" + (separator.join(parts) or '""') + ")"


def _counted(item: str, least: int, most: int | None) -> str:
    return f"({item}){{{least},{'' if most is None else most}}}"


def _token(token: Token) -> str:
    return f"<[^{token.id}]>" if token.is_excluded else f"<[{token.id}]>"
