"""The shape of a client: its requests, and its own way to read the answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

Kind: TypeAlias = Literal["probe", "complete", "chat", "stream"]
KINDS: tuple[Kind, ...] = ("probe", "complete", "chat", "stream")
SAID = "Hello world"
"""What the model says, and every reader must come to."""


@dataclass(frozen=True, slots=True)
class Answer:
    """chunks: as HTTP brought them, because some clients take each for a document."""

    status: int
    headers: Mapping[str, str]
    chunks: Sequence[bytes]

    @property
    def text(self) -> str:
        return b"".join(self.chunks).decode()

    @property
    def json(self) -> Any:
        return json.loads(self.text)


Reader: TypeAlias = Callable[[Answer], object]


@dataclass(frozen=True, slots=True)
class Ask:
    """One request. body: a value is sent as JSON, bytes and text as they are; no header is added to these, Content-Type
    least of all. reads: raises where the client would fail; returns the text that it shows, for a probe anything."""

    kind: Kind
    method: str
    path: str
    body: object
    reads: Reader
    headers: Mapping[str, str] = field(default_factory=dict)
    is_chunked: bool = False

    @property
    def content(self) -> bytes | None:
        match self.body:
            case None | bytes():
                return self.body
            case str():
                return self.body.encode()
            case _:
                return json.dumps(self.body).encode()


@dataclass(frozen=True, slots=True)
class Client:
    """source: where its requests and parse rules were read. listeners: the personas that its users point it at."""

    name: str
    source: str
    listeners: Sequence[str]
    asks: Sequence[Ask]


def get(path: str, reads: Reader, **headers: str) -> Ask:
    return Ask("probe", "GET", path, None, reads, _named(headers))


def post(kind: Kind, path: str, body: object, reads: Reader, *, is_chunked: bool = False, **headers: str) -> Ask:
    """headers: `content_type="text/plain"` is Content-Type."""
    return Ask(kind, "POST", path, body, reads, _named(headers), is_chunked)


def _named(headers: Mapping[str, str]) -> Mapping[str, str]:
    return {name.replace("_", "-").title(): value for name, value in headers.items()}
