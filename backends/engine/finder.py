"""Looks for strings in text that comes in pieces: stop strings, and the markers around reasoning and tool calls."""

from __future__ import annotations

import re


class StringFinder:
    """Looks for several strings at once, and never twice at a character (Knuth, Morris and Pratt 1977).

    num_held: the characters at the end that may begin one of the strings: they aren't to be sent yet.
    """

    def __init__(self, strings: tuple[str, ...]) -> None:
        """strings: at least one, none of them empty."""
        self.num_held = 0
        self._strings = strings
        self._failures = [_failure(string) for string in strings]
        self._matched = [0] * len(strings)
        self._first = re.compile("[" + re.escape("".join(string[0] for string in strings)) + "]")

    def is_far_from(self, text: str) -> bool:
        """Quick: nothing is held, and no string begins in `text`. Then `text` needn't be read."""
        return not self.num_held and self._first.search(text) is None

    def find(self, text: str) -> tuple[int, str] | None:
        """Reads `text`. Where the first string to be complete ends in it, and that string: of several with the same
        end, the longest. The next search begins afresh after it."""
        for place, char in enumerate(text):
            done = [string for index, string in enumerate(self._strings) if self._step(index, char) == len(string)]
            if done:
                self._matched = [0] * len(self._strings)
                self.num_held = 0
                return place + 1, max(done, key=len)
        self.num_held = max(self._matched)
        return None

    def _step(self, index: int, char: str) -> int:
        string, failure, matched = self._strings[index], self._failures[index], self._matched[index]
        while matched and string[matched] != char:
            matched = failure[matched - 1]
        matched += string[matched] == char
        self._matched[index] = matched
        return matched


def _failure(string: str) -> list[int]:
    """For each beginning of `string`: how long a shorter beginning it ends with."""
    table = [0]
    for char in string[1:]:
        matched = table[-1]
        while matched and string[matched] != char:
            matched = table[matched - 1]
        table.append(matched + (string[matched] == char))
    return table
