"""llama.cpp's grammar notation, read into a tree (llama.cpp grammars/README.md, src/llama-grammar.cpp).

Knows nothing of how a grammar is enforced.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from backends.engine.gbnf_tree import (
    ANY_CHAR,
    LAST_CODE_POINT,
    SURROGATES,
    Chars,
    GbnfError,
    Node,
    Reference,
    Repeat,
    Token,
    alternatives,
    char_class,
    literal,
    sequence,
)

MAX_DEPTH = 100
MAX_RULES = 2000
MAX_REPEATS = 2000  # llama.cpp's MAX_REPETITION_THRESHOLD

_BLANKS = re.compile(r"(?:[ \t]|#[^\r\n]*)*")
_BLANK_LINES = re.compile(r"(?:[ \t\r\n]|#[^\r\n]*)*")
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_REPEAT = re.compile(r"\{\s*(\d+)\s*(,?)\s*(\d*)\s*\}")
_TOKEN = re.compile(r"<(?:\[(\d+)\]|[^>]*)>")
_HEX_ESCAPE = re.compile(r"x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})")
_ESCAPES = {"t": "\t", "r": "\r", "n": "\n", "\\": "\\", '"': '"', "[": "[", "]": "]", "-": "-"}


def parse(grammar: str, token_id: Callable[[str], int | None]) -> dict[str, Node]:
    """The rules by name, `root` among them, every reference to one of them. token_id: as the tokenizer has it.

    Raises GbnfError.
    """
    parser = _Parser(grammar, token_id)
    rules = parser.read_rules()
    if "root" not in rules:
        raise GbnfError("there is no rule named 'root'")
    for name, line in parser.references.items():
        if name not in rules:
            raise GbnfError(f"line {line}: there is no rule named '{name}'")
    return rules


class _Parser:
    """Recursive descent; `place` is where it has come to. Inside parentheses a line break is a blank."""

    def __init__(self, text: str, token_id: Callable[[str], int | None]) -> None:
        self.references: dict[str, int] = {}  # name → line of its first use
        self._text = text
        self._place = 0
        self._depth = 0
        self._token_id = token_id

    def read_rules(self) -> dict[str, Node]:
        rules = {}
        self._skip(_BLANK_LINES)
        while self._place < len(self._text):
            name = self._expect(_NAME, "the name of a rule")[0]
            self._skip(_BLANKS)
            self._expect(re.compile("::="), "'::='")
            self._skip(_BLANK_LINES)
            rules[name] = self._read_alternatives()
            if len(rules) > MAX_RULES:
                raise self._error(f"at most {MAX_RULES} rules are allowed")
            if self._place < len(self._text):
                self._expect(re.compile(r"\r?\n|\r"), "the end of the line")
            self._skip(_BLANK_LINES)
        return rules

    def _read_alternatives(self) -> Node:
        options = [self._read_sequence()]
        while self._accept("|"):
            self._skip(_BLANK_LINES)
            options.append(self._read_sequence())
        return alternatives(options)

    def _read_sequence(self) -> Node:
        items: list[Node] = []
        while (item := self._read_item()) is not None:
            self._skip_blanks()
            items.append(self._read_repeats(item))
        return sequence(items)

    def _read_item(self) -> Node | None:
        if self._accept('"'):
            return literal(self._read_chars('"'))
        if self._accept("["):
            return self._read_class()
        if self._accept("("):
            return self._read_group()
        if self._accept("."):
            return ANY_CHAR
        if self._text.startswith(("<", "!"), self._place):
            return self._read_token()
        if name := _NAME.match(self._text, self._place):
            self.references.setdefault(name[0], self._line)
            self._place = name.end()
            return Reference(name[0])
        return None

    def _read_repeats(self, item: Node) -> Node:
        while True:
            if self._accept("*"):
                item = Repeat(item, 0, None)
            elif self._accept("+"):
                item = Repeat(item, 1, None)
            elif self._accept("?"):
                item = Repeat(item, 0, 1)
            elif self._text.startswith("{", self._place):
                item = self._read_count(item)
            else:
                return item
            self._skip_blanks()

    def _read_count(self, item: Node) -> Node:
        least, comma, most = self._expect(_REPEAT, "{m}, {m,} or {m,n}").groups()
        if int(least) > MAX_REPEATS or int(most or 0) > MAX_REPEATS:
            raise self._error(f"at most {MAX_REPEATS} repetitions are allowed")
        if most and int(most) < int(least):
            raise self._error("the second number is smaller than the first")
        limit = int(most) if most else None if comma else int(least)
        return sequence([]) if limit == 0 else Repeat(item, int(least), limit)

    def _read_group(self) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._error("too many parentheses inside each other")
        self._skip_blanks()
        group = self._read_alternatives()
        self._depth -= 1
        if not self._accept(")"):
            raise self._error("expected ')'")
        return group

    def _read_class(self) -> Chars:
        is_negated = self._accept("^")
        ranges = []
        while not self._accept("]"):
            low = high = ord(self._read_char())
            if self._text.startswith("-", self._place) and not self._text.startswith("-]", self._place):
                self._place += 1
                high = ord(self._read_char())
            if low > high:
                raise self._error("a range of characters goes backwards")
            ranges.append((low, high))
        if not ranges and not is_negated:
            raise self._error("a class needs a character")
        return char_class(ranges, is_negated=is_negated)

    def _read_chars(self, end: str) -> str:
        chars = []
        while not self._accept(end):
            chars.append(self._read_char())
        return "".join(chars)

    def _read_char(self) -> str:
        if self._place >= len(self._text):
            raise self._error("the grammar ends inside quotes or brackets")
        char = self._text[self._place]
        self._place += 1
        return self._read_escape() if char == "\\" else char

    def _read_escape(self) -> str:
        code = _HEX_ESCAPE.match(self._text, self._place)
        if code:
            self._place = code.end()
            value = int(next(filter(None, code.groups())), 16)
            if value > LAST_CODE_POINT or SURROGATES[0] <= value <= SURROGATES[1]:
                raise self._error(f"{value:#x} is no character")
            return chr(value)
        letter = self._text[self._place : self._place + 1]
        if letter not in _ESCAPES:
            raise self._error(f"unknown escape '\\{letter}'")
        self._place += 1
        return _ESCAPES[letter]

    def _read_token(self) -> Token:
        is_excluded = self._accept("!")
        found = self._expect(_TOKEN, "a token such as <think> or <[1000]>")
        token_id = int(found[1]) if found[1] else self._token_id(found[0])
        if token_id is None:
            raise self._error(f"{found[0]} is no single token of this model")
        return Token(token_id, is_excluded)

    def _skip_blanks(self) -> None:
        self._skip(_BLANK_LINES if self._depth else _BLANKS)

    def _skip(self, blanks: re.Pattern[str]) -> None:
        found = blanks.match(self._text, self._place)
        self._place = found.end() if found else self._place

    def _accept(self, char: str) -> bool:
        if self._text.startswith(char, self._place):
            self._place += len(char)
            return True
        return False

    def _expect(self, pattern: re.Pattern[str], what: str) -> re.Match[str]:
        found = pattern.match(self._text, self._place)
        if not found:
            raise self._error(f"expected {what}")
        self._place = found.end()
        return found

    @property
    def _line(self) -> int:
        return self._text.count("\n", 0, self._place) + 1

    def _error(self, message: str) -> GbnfError:
        return GbnfError(f"line {self._line}: {message}")
