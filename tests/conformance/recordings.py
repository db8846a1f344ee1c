"""The recordings of real servers as cases."""

from __future__ import annotations

import functools
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

from tests.conformance.case import Case, column_of, with_feature
from tests.conformance.compare import compare
from tests.conformance.deviations import allowed_extras
from tests.conformance.stream import is_stream
from tests.conformance.wire import Answer, Request, read_answer

PERSONAS = {"llama-server": "llamacpp", "llama-cpp-python": "llamacpp-python"}
PROFILES = {
    "main": "engine", "full": "engine", "embd": "engine", "auth": "keys", "small": "small", "shift": "small",
    "toolcall": "tools", "think": "thinking", "lcp": "engine", "lcp_embd": "engine", "lcp_auth": "keys",
}  # fmt: skip
"""Which of our profiles stands for which of theirs."""
SPECIAL = {
    "infill_stream": "cut",
    "loading_.*": "loading", "busy_.*": "busy", "nointerrupt_.*": "engine",
    "tc_chat_parallel(_stream)?": "two calls",
    "tc_(messages|responses)_mixed(_stream)?": "text and call",
    "th_reasoning_budget_0": "engine", "(embeddings?|embd)_disabled": "plain",
}  # fmt: skip
"""Cases, by pattern, that need a model or a moment of their own."""
ABOUT_ROUTES = frozenset({"proto", "method", "cors", "ollama_compat"})
UNKNOWN_ROUTE = (b"File Not Found", b'"Not Found"')


def load(folder: Path) -> Iterator[Case]:
    """Every recording of one server; `index.json` names them."""
    index = json.loads((folder / "index.json").read_text())
    persona = PERSONAS[folder.name]
    for entry in index["cases"]:
        if "status" not in entry:
            continue  # the server died: there is no answer to compare
        name = entry["case"]
        recorded = read_recording(folder / f"{name}.resp", entry["method"])
        request = Request(entry["method"], entry["path"], (folder / f"{name}.req").read_bytes())
        is_about_routes = entry["group"] in ABOUT_ROUTES or any(mark in recorded.body for mark in UNKNOWN_ROUTE)
        streams = is_stream(recorded.content_type)
        dialect = with_feature(persona, entry["path"])
        yield Case(
            id=f"{folder.name}/{name}",
            dialect=f"{persona}/keys" if entry["group"] == "auth" else dialect,
            column=column_of(entry["method"], recorded.status, streams=streams, is_about_routes=is_about_routes),
            profile=_profile(entry["profile"], name),
            persona=persona,
            request=request,
            check=functools.partial(compare, recorded, allows=allowed_extras(persona, entry["path"])),
        )


def _profile(theirs: str, name: str) -> str:
    special = (profile for pattern, profile in SPECIAL.items() if re.fullmatch(pattern, name))
    return next(special, PROFILES.get(theirs) or f"no {theirs}")


def read_recording(path: Path, method: str) -> Answer:
    """Lengths are not believed: rewritten paths made a few of them wrong."""
    head, _, body = path.read_bytes().partition(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 100"):
        head, _, body = body.partition(b"\r\n\r\n")
    bare = re.sub(rb"(?i)\r\n(Content-Length|Transfer-Encoding):[^\r]*", b"", head) + b"\r\n\r\n"
    answer = read_answer(io.BytesIO(bare), method)
    if b"Transfer-Encoding: chunked" not in head:
        return Answer(answer.status, answer.headers, body)
    chunks = tuple(re.findall(rb"[0-9a-f]+\r\n(.+?)\r\n(?=[0-9a-f]+\r\n)", body, re.DOTALL))
    return Answer(answer.status, answer.headers, b"".join(chunks), chunks)
