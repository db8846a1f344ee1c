"""Signs: what gives a family's client away in a request, where neither the listener nor the path says who is asking.

Only what one family's clients send, and no other's, is a sign. Knows no route.
"""

from __future__ import annotations

import contextlib
from collections.abc import Set
from dataclasses import dataclass
from typing import Any, TypeAlias

from adapters.base import Call
from backends.errors import MalformedBody


@dataclass(frozen=True, slots=True)
class Header:
    """A header; its value begins with `begins` and has `part` in it, in any case."""

    name: str
    verb: str
    begins: str = ""
    part: str = ""
    outweighs_persona: bool = False

    def fits(self, call: Call) -> bool:
        value = call.headers.get(self.name)
        return value is not None and value.lower().startswith(self.begins) and self.part in value.lower()


@dataclass(frozen=True, slots=True)
class Keys:
    """Keys of a JSON body: one of `any_of`, all of `all_of` and none of `without`.

    outweighs_persona: a body in which the persona's own server would find nothing that it knows.
    """

    verb: str
    any_of: Set[str]
    all_of: Set[str] = frozenset()
    without: Set[str] = frozenset()
    outweighs_persona: bool = False

    def fits(self, call: Call) -> bool:
        if not any(b'"%b"' % key.encode() in call.body for key in self.any_of):
            return False  # most bodies: looking for bytes costs a hundredth of parsing them
        keys = _keys(call)
        return bool(self.any_of & keys) and self.all_of <= keys and not self.without & keys


Sign: TypeAlias = Header | Keys


def _keys(call: Call) -> frozenset[str]:
    """Of the body; a null is as good as absent."""
    body: Any = None
    with contextlib.suppress(MalformedBody):
        body = call.json()
    return frozenset(key for key, value in body.items() if value is not None) if isinstance(body, dict) else frozenset()
