"""What llama.cpp's JSON library says of a text that isn't JSON: where the fault is, in what, what was expected.

This repeats the grammar and the words of nlohmann::json (include/nlohmann/detail/input/{lexer,parser}.hpp). It is for
texts that are known to be wrong, so it only looks for the first fault.
"""

from __future__ import annotations

import re

_MAX_BYTES = 1 << 16  # of a longer text only that it is wrong is told: the walk would hold up other requests
_EMPTY = "attempting to parse an empty input; check that your input string or stream contains the expected JSON"
_WRONG = "syntax error while parsing value - invalid literal"
_BLANKS = re.compile(r"[ \t\n\r]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_PLAIN = re.compile(r'[^"\\\x00-\x1f\udc80-\udcff]*')
_HEX = "[0-9a-fA-F]"
_ESCAPE = re.compile(
    rf'\\(?:["\\/bfnrt]|u(?![dD][89a-fA-F]){_HEX}{{4}}|u[dD][89abAB]{_HEX}{{2}}\\u[dD][c-fC-F]{_HEX}{{2}})'
)
_LITERALS = {"t": "true", "f": "false", "n": "null"}
_SCALARS = frozenset({"string", "number", "true", "false", "null"})
_CLOSING = {"{": "}", "[": "]"}
_CONTEXT = {"{": "object", "[": "array"}
_NAMES = {
    "string": "string literal",
    "number": "number literal",
    "true": "true literal",
    "false": "false literal",
    "null": "null literal",
    "end": "end of input",
    "value": "'[', '{', or a literal",
} | {mark: f"'{mark}'" for mark in "[]{}:,"}
_CONTROLS = (
    "NUL", "SOH", "STX", "ETX", "EOT", "ENQ", "ACK", "BEL", "BS", "HT", "LF", "VT", "FF", "CR", "SO", "SI",
    "DLE", "DC1", "DC2", "DC3", "DC4", "NAK", "SYN", "ETB", "CAN", "EM", "SUB", "ESC", "FS", "GS", "RS", "US",
)  # fmt: skip
_SHORT_ESCAPES = {8: "\\b", 9: "\\t", 10: "\\n", 12: "\\f", 13: "\\r"}


def syntax_error(body: bytes) -> str:
    """body: not JSON."""
    text = body.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    line, column, fault = 1, 1, _EMPTY
    if text:
        lexer = _Lexer(text)
        fault = _first_fault(lexer) if len(body) <= _MAX_BYTES else _WRONG
        read = text[: lexer.at].encode("utf-8", "surrogateescape")
        is_past_end = lexer.at > len(text)
        line, column = read.count(b"\n") + 1, len(read) - (read.rfind(b"\n") + 1) + is_past_end
    shown = fault.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return f"[json.exception.parse_error.101] parse error at line {line}, column {column}: {shown}"


class _Lexer:
    """at: characters read; one more than there are when the end was met. last_from: where the last string or number
    began, since the library shows what it read from there on."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.last_from = 0
        self.fault = ""

    def next(self) -> str:
        """A mark, the kind of a literal, `end`, or `fault`."""
        self.at = _blanks_end(self.text, self.at)
        char = self.text[self.at : self.at + 1]
        if char == '"':
            return self._string()
        if char and char in "-0123456789":
            return self._number()
        if char in _LITERALS:
            return self._literal(_LITERALS[char])
        self.at += 1
        if not char:
            return "end"
        return char if char in "[]{}:," else self._failed("invalid literal")

    def last_read(self) -> str:
        return re.sub(r"[\x00-\x1f]", lambda found: f"<U+{ord(found[0]):04X}>", self.text[self.last_from : self.at])

    def _failed(self, fault: str) -> str:
        self.at = min(self.at, len(self.text) + 1)
        self.fault = fault
        return "fault"

    def _literal(self, word: str) -> str:
        for expected in word:
            self.at += 1
            if self.text[self.at - 1 : self.at] != expected:
                return self._failed("invalid literal")
        return word

    def _number(self) -> str:
        self.last_from = self.at
        found = _NUMBER.match(self.text, self.at)
        if found is None:
            self.at += 2
            return self._failed("invalid number; expected digit after '-'")
        self.at = found.end()
        rest = self.text[self.at : self.at + 2]
        if rest[:1] == "." and "." not in found[0]:
            self.at += 2
            return self._failed("invalid number; expected digit after '.'")
        if rest[:1] in {"e", "E"} and not re.search("[eE]", found[0]):
            has_sign = rest[1:] in {"+", "-"}
            self.at += 3 if has_sign else 2
            expected = "digit after exponent sign" if has_sign else "'+', '-', or digit after exponent"
            return self._failed(f"invalid number; expected {expected}")
        return "number"

    def _string(self) -> str:
        self.last_from = self.at
        self.at += 1
        while True:
            plain = _PLAIN.match(self.text, self.at)
            self.at = (plain.end() if plain else self.at) + 1
            match self.text[self.at - 1 : self.at]:
                case '"':
                    return "string"
                case "":
                    return self._failed("invalid string: missing closing quote")
                case "\\":
                    if fault := self._escape():
                        return self._failed(fault)
                case char if ord(char) < 0x20:
                    return self._failed(_control_fault(ord(char)))
                case _:
                    return self._failed("invalid string: ill-formed UTF-8 byte")

    def _escape(self) -> str:
        """Reads on after a backslash; what is wrong with it, or nothing."""
        found = _ESCAPE.match(self.text, self.at - 1)
        if found:
            self.at = found.end()
            return ""
        self.at += 1
        if self.text[self.at - 1 : self.at] != "u":
            return "invalid string: forbidden character after backslash"
        digits = re.match(f"{_HEX}*", self.text[self.at : self.at + 4])
        num_digits = digits.end() if digits else 0
        if num_digits == 4:
            self.at += 5
            return "invalid string: surrogate U+D800..U+DBFF must be followed by U+DC00..U+DFFF"
        self.at += num_digits + 1
        return "invalid string: '\\u' must be followed by 4 hex digits"


def _blanks_end(text: str, start: int) -> int:
    blanks = _BLANKS.match(text, start)
    return blanks.end() if blanks else start


def _control_fault(code: int) -> str:
    short = f" or {_SHORT_ESCAPES[code]}" if code in _SHORT_ESCAPES else ""
    return f"invalid string: control character U+{code:04X} ({_CONTROLS[code]}) must be escaped to \\u{code:04X}{short}"


def _first_fault(lexer: _Lexer) -> str:
    """Leaves the lexer where the fault is."""
    open_marks: list[str] = []
    lexeme = lexer.next()
    while True:
        if lexeme in _CLOSING:  # an array or object begins
            mark, lexeme = lexeme, lexer.next()
            if lexeme != _CLOSING[mark]:
                open_marks.append(mark)
                if mark == "{" and (fault := _key_fault(lexer, lexeme)):
                    return fault
                lexeme = lexer.next() if mark == "{" else lexeme
                continue
        elif lexeme not in _SCALARS:
            return _fault(lexer, lexeme, "value", "value")
        lexeme = lexer.next()
        while open_marks and lexeme == _CLOSING[open_marks[-1]]:
            open_marks.pop()
            lexeme = lexer.next()
        if not open_marks:
            return _fault(lexer, lexeme, "end", "value")
        if lexeme != ",":
            return _fault(lexer, lexeme, _CLOSING[open_marks[-1]], _CONTEXT[open_marks[-1]])
        lexeme = lexer.next()
        if open_marks[-1] == "{":
            if fault := _key_fault(lexer, lexeme):
                return fault
            lexeme = lexer.next()


def _key_fault(lexer: _Lexer, lexeme: str) -> str:
    """Reads a key and its colon; what is wrong with them, or nothing."""
    if lexeme != "string":
        return _fault(lexer, lexeme, "string", "object key")
    colon = lexer.next()
    return "" if colon == ":" else _fault(lexer, colon, ":", "object separator")


def _fault(lexer: _Lexer, lexeme: str, expected: str, context: str) -> str:
    place = f"syntax error while parsing {context} - "
    if lexeme != "fault":
        return f"{place}unexpected {_NAMES[lexeme]}; expected {_NAMES[expected]}"
    message = f"{place}{lexer.fault}; last read: '{lexer.last_read()}'"
    return message if expected == "value" else f"{message}; expected {_NAMES[expected]}"
