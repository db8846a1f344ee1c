"""Finds tool calls in an answer as it streams.

Owns what is certain: text that may become a call is held back until it has, or can't any more. What turns out to be no
call is text, and no character of it is lost. Knows nothing of tokens or events.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from backends.engine.cursor import Cursor, Reading, Unexpected
from backends.engine.finder import StringFinder
from backends.engine.tool_formats import ToolFormat


@dataclass(frozen=True, slots=True)
class CallStart:
    name: str


@dataclass(frozen=True, slots=True)
class CallArguments:
    """The next piece of the arguments of the latest call."""

    text: str


Part: TypeAlias = str | CallStart | CallArguments


class ToolCallParser:
    """names: the tools on offer; a call to another is text.

    Blanks around calls are no text. Once a call's arguments have begun, they are passed on as they come; where they
    cease to be JSON, what follows is text.
    """

    def __init__(self, syntax: ToolFormat, names: frozenset[str]) -> None:
        self._syntax = syntax
        self._names = names
        self._finder = StringFinder(syntax.opens) if syntax.opens else None
        self._may_be_bare = syntax.is_bare
        self._held = ""  # what may begin a marker
        self._blanks: str | None = ""  # what a call would swallow; None once text has begun
        self._envelope: _Envelope | None = None
        self._has_called = False

    @property
    def is_in_call(self) -> bool:
        """Has a call begun that isn't over?"""
        return self._envelope is not None and self._envelope.has_called

    def feed(self, text: str) -> list[Part]:
        parts: list[Part] = []
        while text:
            if self._envelope is None:
                text = self._read_text(text, parts)
            else:
                text = self._read_calls(self._envelope, text, parts)
        return parts

    def finish(self) -> list[Part]:
        """What was held back; call once, at the end."""
        parts: list[Part] = []
        if self._envelope is not None:
            rest = self._envelope.finish(parts)
            self._leave(self._envelope, parts)
            self._add_text(rest, parts)
        self._add_text(self._held, parts)
        if self._blanks and not self._has_called:
            parts.append(self._blanks)
        return parts

    def _read_text(self, text: str, parts: list[Part]) -> str:
        """Returns what is to be read next, after an opening marker."""
        if self._may_be_bare and (unread := text.lstrip()):
            self._may_be_bare = False
            if unread[0] == "{":
                self._add_text(text[: -len(unread)], parts)
                self._envelope = _Envelope("", self._syntax, self._names)
                return unread
        if self._finder is None or self._finder.is_far_from(text):
            self._add_text(text, parts)
            return ""
        found = self._finder.find(text)
        ready = self._held + text
        if found is None:
            num_ready = len(ready) - self._finder.num_held
            self._held = ready[num_ready:]
            self._add_text(ready[:num_ready], parts)
            return ""
        end, marker = found
        end += len(self._held)
        self._held = ""
        self._add_text(ready[: end - len(marker)], parts)
        self._envelope = _Envelope(marker, self._syntax, self._names)
        return ready[end:]

    def _read_calls(self, envelope: _Envelope, text: str, parts: list[Part]) -> str:
        """Returns what is to be read next, after the last call."""
        rest = envelope.read(text, parts)
        if rest is None:
            return ""
        self._leave(envelope, parts)
        return rest

    def _leave(self, envelope: _Envelope, parts: list[Part]) -> None:
        self._envelope = None
        if envelope.has_called:
            self._has_called = True
            self._blanks = ""
        else:
            self._add_text(envelope.marker, parts)

    def _add_text(self, text: str, parts: list[Part]) -> None:
        if self._blanks is not None:
            text = self._blanks + text
            is_blank = not text or text.isspace()
            self._blanks = text if is_blank else None
            if is_blank:
                return
        if text:
            parts.append(text)


class _Envelope:
    """What follows an opening marker: calls, if it is well-formed. The reader's side of the parser."""

    def __init__(self, marker: str, syntax: ToolFormat, names: frozenset[str]) -> None:
        self.marker = marker
        self.has_called = False
        self._names = names
        self._cursor = Cursor()
        self._reading = syntax.read(self._cursor, self)
        self._parts: list[Part] = []
        self._is_in_arguments = False

    def read(self, text: str, parts: list[Part]) -> str | None:
        """What is left when it is over: all of it, where there was no call. None while there may be more."""
        self._cursor.add(text)
        self._parts = parts
        try:
            next(self._reading)
        except StopIteration:
            return self._cursor.text[self._cursor.place :] if self.has_called else self._cursor.text
        except Unexpected:
            self._pass_on_arguments()
            return self._cursor.text
        self._pass_on_arguments()
        return None

    def finish(self, parts: list[Part]) -> str:
        """The answer ends here: arguments that aren't complete are arguments all the same. Returns what is left."""
        self._reading.close()
        self._parts = parts
        if self._is_in_arguments:
            self._cursor.place = len(self._cursor.text)
            self._pass_on_arguments()
        return self._cursor.text

    def read_call(self, name: str) -> Reading[None]:
        if (yield from self._cursor.peek()) != "{":
            raise Unexpected("an object")
        self._start(name)
        self._is_in_arguments = True
        yield from self._cursor.read_json()
        self._pass_on_arguments()
        self._is_in_arguments = False

    def give_call(self, name: str, arguments: str) -> None:
        self._start(name)
        self._parts.append(CallArguments(arguments))

    def end(self) -> None:
        self._cursor.take()

    def _start(self, name: str) -> None:
        if name not in self._names:
            raise Unexpected("a tool on offer")
        self._cursor.take()
        self.has_called = True
        self._parts.append(CallStart(name))

    def _pass_on_arguments(self) -> None:
        if self._is_in_arguments and (text := self._cursor.take()):
            self._parts.append(CallArguments(text))
