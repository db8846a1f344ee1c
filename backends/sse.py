"""A stream of bytes → the data of its server-sent events (WHATWG HTML, section 9.2.6), as OpenAI's servers write them:
one line of data an event."""

from __future__ import annotations

_MAX_LINE = 64 * 2**20
"""Bytes. A prompt's token ids come in one line; more than this is no event any more."""


class LineTooLong(Exception):
    pass


class SseSplitter:
    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of every event that is complete by now; comments are dropped. Raises LineTooLong."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        if len(self._rest) > _MAX_LINE:
            raise LineTooLong
        return [line[5:].strip() for line in lines if line.startswith(b"data:")]
