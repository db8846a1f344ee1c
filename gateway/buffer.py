"""The text around an editor's cursor, and whether a prompt is another one a few keystrokes later. Pure."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from functools import cache

from backends.engine.infill import FAMILIES
from backends.request import ChatPrompt, InfillPrompt, Prompt, TextPrompt

_FEWEST = 8
"""Characters that two texts must share to be taken for one: everything begins like an empty file."""

_MOST_RETYPED = 16
"""Characters of a hole's prefix that may have been deleted and typed anew between two requests."""

_MOST_TYPED, _MOST_DELETED = 2000, 200
"""Characters, between two requests: a completion may have been accepted. Beyond it the cursor is somewhere else."""

_HEAD = 64
_MOST_SCROLLED = 8192
"""Editors send the last so many lines or characters before the cursor: by that much a text's head may have moved."""


@dataclass(frozen=True, slots=True)
class Buffer:
    """before and after the cursor. is_infill: there is an after, even if nothing stands there."""

    before: str
    after: str = ""
    is_infill: bool = False


def buffer_of(prompt: Prompt) -> Buffer | None:
    """None for chats and token ids. Sentinels of any family, written out in a text, are understood."""
    match prompt:
        case InfillPrompt():
            return Buffer(prompt.prefix + prompt.start, prompt.suffix, is_infill=True)
        case TextPrompt(parts=(str(text),)):
            return _infill_in(text) or Buffer(text)
        case TextPrompt() | ChatPrompt():
            return None


def _infill_in(text: str) -> Buffer | None:
    found: dict[str, str] = {}
    pieces = _sentinels().split(text)
    for sentinel, piece in zip(pieces[1::2], pieces[2::2], strict=True):
        found[_roles()[sentinel]] = piece
    return Buffer(found["prefix"], found["suffix"], is_infill=True) if {"prefix", "suffix"} <= found.keys() else None


@cache
def _roles() -> dict[str, str]:
    """What each sentinel stands before. SentencePiece's blank is a real one in a text."""
    spelt = [("prefix", f.prefix) for f in FAMILIES] + [("suffix", f.suffix) for f in FAMILIES]
    spelt += [("middle", family.middle) for family in FAMILIES if family.middle]
    return {sentinel.removeprefix("▁"): role for role, sentinel in spelt}


@cache
def _sentinels() -> re.Pattern[str]:
    return re.compile(f"({'|'.join(map(re.escape, _roles()))})")


def is_typed_on(old: Buffer, new: Buffer) -> bool:
    """Is `new` what `old` has become by typing or deleting at the cursor? Two equal ones are not."""
    if old == new or old.is_infill != new.is_infill:
        return False
    before = _scrolled(old.before, new.before)
    num_shared = _num_shared(before, new.before)
    if num_shared < _FEWEST and not (old.after == new.after != ""):
        return False
    num_typed, num_deleted = len(new.before) - num_shared, len(before) - num_shared
    if num_typed > _MOST_TYPED or num_deleted > _MOST_DELETED:
        return False
    return min(num_typed, num_deleted) <= (_MOST_RETYPED if new.is_infill else 0)


def _num_shared(one: str, other: str) -> int:
    """Characters that they begin with alike."""
    lengths = range(1, min(len(one), len(other)) + 1)
    return bisect_right(lengths, False, key=lambda length: one[:length] != other[:length])


def _scrolled(old: str, new: str) -> str:
    """The old text from where the new one begins."""
    if old.startswith(new[:_HEAD]):
        return old
    place = old.find(new[:_HEAD], 0, _MOST_SCROLLED)
    return old if place < 0 else old[place:]
