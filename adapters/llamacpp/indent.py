"""`n_indent`: an answer ends before a line that is indented less. Pure; knows only text.

Source: llama.cpp tools/server/server-context.cpp, process_token.
"""

from __future__ import annotations


class IndentLimit:
    """least: blanks and tabs that every line after the first must begin with; 0 lets everything pass.

    is_reached: a line began with fewer; what was fed since is cut.
    """

    __slots__ = ("_least", "_width", "is_reached")

    def __init__(self, least: int) -> None:
        self.is_reached = False
        self._least = least
        self._width: int | None = None  # of the line's indentation so far; None: not in an indentation

    def feed(self, text: str) -> str:
        """The part of the text that may be shown."""
        if self._least == 0:
            return text
        if self.is_reached:
            return ""
        for position, char in enumerate(text):
            if self._width is not None and char in " \t":
                self._width += 1
                continue
            if self._width is not None and self._width < self._least:
                self.is_reached = True
                return text[:position]
            self._width = 0 if char == "\n" else None
        return text
