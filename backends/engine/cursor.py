"""Reads text that is still coming, as if it were all there: readers are generators that yield when they need more."""

from __future__ import annotations

import json
import re
from collections.abc import Generator
from typing import TypeAlias, TypeVar

T = TypeVar("T")
Reading: TypeAlias = Generator[None, None, T]
"""Yields when the text has been read up and there must be more of it."""

MAX_DEPTH = 100
MAX_NAME = 200

_PLAIN = re.compile(r'[^"\\\x00-\x1f]*')
_ESCAPE = re.compile(r'\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})')
_BEGUN_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?")
_SCALAR_CHARS = re.compile(r"[-+.\w]*")
_SCALAR = re.compile(r"true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?", re.ASCII)


class Unexpected(Exception):
    """The text isn't what the reader is for."""


class Cursor:
    """place: everything before it has been read, and is as it should be."""

    def __init__(self) -> None:
        self.text = ""
        self.place = 0

    def add(self, text: str) -> None:
        self.text += text

    def take(self) -> str:
        """What has been read, and forget it."""
        taken, self.text, self.place = self.text[: self.place], self.text[self.place :], 0
        return taken

    def peek(self) -> Reading[str]:
        """The next character, unread."""
        while self.place >= len(self.text):
            yield
        return self.text[self.place]

    def expect(self, literal: str) -> Reading[None]:
        if not (yield from self.accept(literal)):
            raise Unexpected(literal)

    def accept(self, literal: str) -> Reading[bool]:
        """Reads `literal` if it comes next."""
        while True:
            coming = self.text[self.place : self.place + len(literal)]
            if not literal.startswith(coming):
                return False
            if coming == literal:
                self.place += len(literal)
                return True
            yield

    def skip_blanks(self) -> Reading[None]:
        while (yield from self.peek()) in " \t\r\n":
            self.place += 1

    def read_until(self, literal: str) -> Reading[str]:
        """What stands before `literal`, which is read too: a name, so no longer than names are."""
        longest = MAX_NAME + len(literal)
        while (end := self.text.find(literal, self.place, self.place + longest)) < 0:
            if len(self.text) - self.place >= longest:
                raise Unexpected(literal)
            yield
        found = self.text[self.place : end]
        self.place = end + len(literal)
        return found

    def read_json(self, depth: int = 0) -> Reading[None]:
        """Any JSON value. `place` moves on inside it, but stops only where a reader of JSON could."""
        char = yield from self.peek()
        if char in "{[" and depth < MAX_DEPTH:
            yield from self._read_container("}" if char == "{" else "]", depth)
        elif char == '"':
            yield from self._read_string()
        else:
            yield from self._read_scalar()

    def read_json_string(self) -> Reading[str]:
        begin = self.place
        yield from self._read_string()
        return str(json.loads(self.text[begin : self.place]))

    def _read_container(self, close: str, depth: int) -> Reading[None]:
        self.place += 1
        yield from self.skip_blanks()
        if (yield from self.accept(close)):
            return
        while True:
            if close == "}":
                yield from self._read_string()
                yield from self.read_separator(":")
            yield from self.read_json(depth + 1)
            yield from self.skip_blanks()
            if (yield from self.accept(close)):
                return
            yield from self.read_separator(",")

    def read_separator(self, separator: str) -> Reading[None]:
        """With blanks on either side."""
        yield from self.skip_blanks()
        yield from self.expect(separator)
        yield from self.skip_blanks()

    def _read_string(self) -> Reading[None]:
        yield from self.expect('"')
        while True:
            self.place = _end_of(_PLAIN, self.text, self.place)
            char = yield from self.peek()
            if char == '"':
                self.place += 1
                return
            if char == "\\":
                yield from self._read_escape()
            elif char < " ":
                raise Unexpected("a string")

    def _read_escape(self) -> Reading[None]:
        while not (escape := _ESCAPE.match(self.text, self.place)):
            if not _BEGUN_ESCAPE.fullmatch(self.text, self.place):
                raise Unexpected("an escape")
            yield
        self.place = escape.end()

    def _read_scalar(self) -> Reading[None]:
        while (end := _end_of(_SCALAR_CHARS, self.text, self.place)) == len(self.text):
            if not _may_become_scalar(self.text[self.place :]):
                raise Unexpected("a JSON value")
            yield
        if not _SCALAR.fullmatch(self.text, self.place, end):
            raise Unexpected("a JSON value")
        self.place = end


def _end_of(pattern: re.Pattern[str], text: str, place: int) -> int:
    """Where a pattern that may match nothing stops matching."""
    found = pattern.match(text, place)
    return found.end() if found else place


def _may_become_scalar(text: str) -> bool:
    return text[:1] in "-0123456789" or any(word.startswith(text) for word in ("true", "false", "null"))
