"""Streams as events: server-sent events and NDJSON lines, and what their bytes may look like."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

DONE = "[DONE]"
_SSE_EVENT = re.compile(rb"(?:event: (?P<name>[^\r\n]+)\n)?data: ?(?P<data>[^\r\n]*)(?:\n\n|\r\n\r\n)")


@dataclass(frozen=True, slots=True)
class Event:
    """name: of `event:`, where there is one. data: the JSON, or `[DONE]`. raw: its bytes, with their line ends."""

    name: str | None
    data: Any
    raw: bytes


def is_stream(content_type: str) -> bool:
    return content_type.startswith(("text/event-stream", "application/x-ndjson"))


def parse_events(content_type: str, body: bytes) -> list[Event]:
    """Raises ValueError where the bytes are not a stream of this type."""
    if content_type.startswith("application/x-ndjson"):
        return [_line(raw) for raw in body.splitlines(keepends=True)]
    return [_sse_event(raw) for raw in re.findall(rb".+?\n\r?\n|.+\Z", body, re.DOTALL)]


def framing_problems(content_type: str, chunks: Sequence[bytes] | None, *, end: bytes = b"\n\n") -> list[str]:
    """What breaks clients that parse each chunk as it comes: one event a chunk, with the line ends of its server."""
    if chunks is None:
        return ["the stream is not chunked"]
    ndjson = content_type.startswith("application/x-ndjson")
    whole = re.compile(rb"\{[^\r\n]*\}\n") if ndjson else _SSE_EVENT
    return [f"chunk {i} is not exactly one event: {_brief(chunk)}" for i, chunk in enumerate(chunks)
            if not (whole.fullmatch(chunk) and (ndjson or chunk.endswith(end)))]  # fmt: skip


def text_of(events: Sequence[Event]) -> str:
    return b"".join(event.raw for event in events).decode("utf-8", "replace")


def _sse_event(raw: bytes) -> Event:
    found = _SSE_EVENT.fullmatch(raw)
    if not found:
        raise ValueError(f"not a server-sent event: {_brief(raw)}")
    name = found["name"].decode() if found["name"] else None
    data = found["data"].decode()
    return Event(name, DONE if data == DONE else json.loads(data), raw)


def _line(raw: bytes) -> Event:
    if not raw.endswith(b"\n") or raw.endswith(b"\r\n"):
        raise ValueError(f"a line must end in LF: {_brief(raw)}")
    return Event(None, json.loads(raw), raw)


def _brief(raw: bytes) -> str:
    return repr(raw if len(raw) < 120 else raw[:60] + b" ... " + raw[-50:])
