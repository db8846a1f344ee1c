"""What is wrong with a body that isn't JSON, in the words of Go's encoding/json (scanner.go).

Only looked at after a fast parser has refused the body, so clarity comes before speed. Go's decoder reads the first
value of a body and leaves the rest, so the end of that value is an answer too.
"""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

from adapters.ollama.json import quoted
from backends.errors import MalformedBody

_Expected: TypeAlias = Literal["value", "first value", "key", "first key", "colon", "end"]

_BLANK = b" \t\r\n"
_MAX_DEPTH = 10_000
_PLAIN = re.compile(rb'[^"\\\x00-\x1f]*')
_DIGITS = re.compile(rb"[0-9]*")
_LITERALS = {ord("t"): b"true", ord("f"): b"false", ord("n"): b"null"}
_TRUNCATED = "unexpected EOF"


def end_of_value(body: bytes) -> int:
    """The first byte after the first value. Raises MalformedBody."""
    return _Scanner(body).scan()


class _Scanner:
    """Walks through one value without building it; the stack holds the bracket that closes each open value."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0
        self._open: list[int] = []

    def scan(self) -> int:
        expected: _Expected = "value"
        while expected != "end" or self._open:
            self._skip_blanks()
            expected = self._step(expected, self._peek())
        return self._at

    def _step(self, expected: _Expected, byte: int) -> _Expected:
        match expected:
            case "value" | "first value":
                if expected == "first value" and byte == ord("]"):
                    return self._close()
                return self._value(byte)
            case "key" | "first key":
                if expected == "first key" and byte == ord("}"):
                    return self._close()
                return self._key(byte)
            case "colon":
                self._take(byte, b":", "after object key")
                return "value"
            case "end":
                return self._after_value(byte)

    def _value(self, byte: int) -> _Expected:
        match chr(byte):
            case "{":
                return self._nest("}", "first key")
            case "[":
                return self._nest("]", "first value")
            case '"':
                self._string()
            case "t" | "f" | "n":
                self._literal(_LITERALS[byte])
            case "-" | "0" | "1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9":
                self._number(byte)
            case _:
                raise self._error("looking for beginning of value")
        return "end"

    def _nest(self, closer: str, expected: _Expected) -> _Expected:
        self._at += 1
        self._open.append(ord(closer))
        if len(self._open) > _MAX_DEPTH:
            raise MalformedBody("exceeded max depth", body=self._body, position=self._at)
        return expected

    def _close(self) -> _Expected:
        self._at += 1
        self._open.pop()
        return "end"

    def _after_value(self, byte: int) -> _Expected:
        if byte == self._open[-1]:
            return self._close()
        in_object = self._open[-1] == ord("}")
        self._take(byte, b",", "after object key:value pair" if in_object else "after array element")
        return "key" if in_object else "value"

    def _key(self, byte: int) -> _Expected:
        if byte != ord('"'):
            raise self._error("looking for beginning of object key string")
        self._string()
        return "colon"

    def _string(self) -> None:
        self._at += 1
        while True:
            self._skip(_PLAIN)
            byte = self._peek()
            if byte < 0x20:
                raise self._error("in string literal")
            self._at += 1
            if byte == ord('"'):
                return
            self._escape()

    def _escape(self) -> None:
        byte = self._peek()
        self._take(byte, b'"\\/bfnrtu', "in string escape code")
        for _ in range(4 if byte == ord("u") else 0):
            self._take(self._peek(), b"0123456789abcdefABCDEF", "in \\u hexadecimal character escape")

    def _literal(self, word: bytes) -> None:
        for wanted in word:
            self._take(self._peek(), bytes([wanted]), f"in literal {word.decode()} (expecting {_character(wanted)})")

    def _number(self, byte: int) -> None:
        if byte == ord("-"):
            self._at += 1
            byte = self._peek()
            self._take(byte, b"0123456789", "in numeric literal")
        else:
            self._at += 1
        if byte != ord("0"):
            self._skip(_DIGITS)
        if self._next() == b".":
            self._at += 1
            self._take(self._peek(), b"0123456789", "after decimal point in numeric literal")
            self._skip(_DIGITS)
        if self._next() in (b"e", b"E"):
            self._at += 1
            if self._peek() in b"+-":
                self._at += 1
            self._take(self._peek(), b"0123456789", "in exponent of numeric literal")
            self._skip(_DIGITS)

    def _skip_blanks(self) -> None:
        while self._next() in (b" ", b"\t", b"\r", b"\n"):
            self._at += 1

    def _skip(self, pattern: re.Pattern[bytes]) -> None:
        found = pattern.match(self._body, self._at)
        self._at = found.end() if found else self._at

    def _next(self) -> bytes:
        return self._body[self._at : self._at + 1]

    def _peek(self) -> int:
        if self._at >= len(self._body):
            raise MalformedBody(_TRUNCATED, body=self._body, position=self._at)
        return self._body[self._at]

    def _take(self, byte: int, wanted: bytes, context: str) -> None:
        if byte not in wanted:
            raise self._error(context)
        self._at += 1

    def _error(self, context: str) -> MalformedBody:
        byte = self._body[self._at]
        return MalformedBody(f"invalid character {_character(byte)} {context}", body=self._body, position=self._at)


def _character(byte: int) -> str:
    """Go takes the byte for a code point here."""
    match chr(byte):
        case "'":
            return r"'\''"
        case '"':
            return "'\"'"
        case character:
            return f"'{quoted(character)[1:-1]}'"
