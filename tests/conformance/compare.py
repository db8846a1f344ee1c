"""Our answer against a recorded one: status, headers that matter, framing byte by byte, keys, types and errors."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from tests.conformance.shape import Allows, differences, fingerprint, is_spaced, nothing_extra, without
from tests.conformance.stream import DONE, Event, framing_problems, is_stream, parse_events
from tests.conformance.wire import Answer

HEADERS_THAT_MATTER = (
    "Content-Type", "Server", "Cache-Control", "X-Accel-Buffering", "Allow", "Vary",
    "Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Access-Control-Allow-Methods",
    "Access-Control-Allow-Headers", "Access-Control-Max-Age",
)  # fmt: skip
"""Compared by value. Left out: Date; and Keep-Alive and Connection, which concern one hop."""
HEADERS_THAT_EXIST = ("X-Request-Id", "OpenAI-Processing-Ms", "Process-Start-Time-Unix")

COUNTS_TOKENS = ("exceed_context_size_error", "is too large to process", "_M_range_check")
"""An error that counts tokens can't have the same numbers with another tokenizer."""


def compare(recorded: Answer, ours: Answer, *, allows: Allows) -> list[str]:
    problems = _status_and_headers(recorded, ours)
    if ours.status != recorded.status:
        return [*problems, f"the body: {ours.body[:200]!r}"]
    if recorded.content_type.partition(";")[0] != ours.content_type.partition(";")[0]:
        return problems
    if (recorded.chunks is None) != (ours.chunks is None):
        problems.append(f"{'Content-Length' if ours.chunks else 'chunked'} expected")
    if is_stream(recorded.content_type):
        return problems + _streams(recorded, ours, allows)
    if "json" in recorded.content_type and recorded.body:
        return problems + _documents(recorded, ours, allows)
    if "text/plain; version" in recorded.content_type:
        return problems + _metrics(recorded.body, ours.body)
    return problems + ([] if ours.body == recorded.body else [f"the body is {ours.body[:200]!r}"])


def _status_and_headers(recorded: Answer, ours: Answer) -> list[str]:
    problems = [] if ours.status == recorded.status else [f"status {recorded.status} expected, not {ours.status}"]
    for name in HEADERS_THAT_MATTER:
        want, have = recorded.header(name), ours.header(name)
        if want != have:
            problems.append(f"{name}: {want!r} expected, not {have!r}")
    missing = [name for name in HEADERS_THAT_EXIST if recorded.header(name) and not ours.header(name)]
    return problems + [f"no header {name}" for name in missing]


def _documents(recorded: Answer, ours: Answer, allows: Allows) -> list[str]:
    try:
        want, have = json.loads(recorded.body), json.loads(ours.body)
    except ValueError as error:
        return [f"not JSON: {error}: {ours.body[:100]!r}"]
    problems = differences(want, have, allows) + usage_problems(have) + _spacing_problems(recorded.body, ours.body)
    if recorded.status >= 400:
        problems += _error_problems(recorded.body.decode(), ours.body.decode())
    return problems


def _spacing_problems(want: bytes, have: bytes) -> list[str]:
    spaced = is_spaced(want.decode("utf-8", "replace"))
    if is_spaced(have.decode("utf-8", "replace")) == spaced:
        return []
    return [f"JSON {'with' if spaced else 'without'} blanks after its separators expected"]


def _error_problems(want: str, have: str) -> list[str]:
    if any(mark in want for mark in COUNTS_TOKENS):
        want, have = (re.sub(r"\d{2,}", "N", text) for text in (want, have))
    return [] if want == have else [f"error {want} expected, not {have}"]


def usage_problems(value: Any) -> list[str]:
    """prompt + completion = total, wherever all three stand."""
    problems = []
    if isinstance(value, dict):
        counts = [value.get(f"{name}_tokens") for name in ("prompt", "completion", "total")]
        numbers = [count for count in counts if isinstance(count, int)]
        if len(numbers) == 3 and numbers[0] + numbers[1] != numbers[2]:
            problems.append(f"usage doesn't add up: {numbers}")
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return problems + [problem for child in children for problem in usage_problems(child)]


def _metrics(want: bytes, have: bytes) -> list[str]:
    names = [set(re.findall(rb"^(\w[\w:]*)", text, re.MULTILINE)) for text in (want, have)]
    return [f"no metric {name.decode()}" for name in sorted(names[0] - names[1])]


def _streams(recorded: Answer, ours: Answer, allows: Allows) -> list[str]:
    problems = framing_problems(ours.content_type, ours.chunks)
    try:
        theirs, have = (parse_events(answer.content_type, answer.body) for answer in (recorded, ours))
    except ValueError as error:
        return [*problems, str(error)]
    problems += [problem for event in have for problem in usage_problems(event.data)]
    if theirs and have:
        if theirs[0].raw[:6] != have[0].raw[:6]:
            problems.append(f"events begin {theirs[0].raw[:6]!r} there, {have[0].raw[:6]!r} here")
        problems += _spacing_problems(theirs[0].raw, have[0].raw)
    wanted_threads, found_threads = _threads(theirs), _threads(have)
    if len(wanted_threads) != len(found_threads):
        return [*problems, f"{len(wanted_threads)} threads of events expected, not {len(found_threads)}"]
    for (whose, wanted), (_, found) in zip(wanted_threads, found_threads, strict=True):
        pairs = _event_problems(_runs(wanted, nothing_extra), _runs(found, allows), allows)
        problems += [f"{whose}{problem}" for problem in pairs]
    return problems


def _threads(events: Sequence[Event]) -> list[tuple[str, list[Event]]]:
    """The events of each choice, in order: how several choices interleave is the scheduler's affair."""
    choices = sorted({index for event in events if (index := _choice(event.data)) is not None})
    if len(choices) < 2:
        return [("", list(events))]
    of_all = [("", [event for event in events if _choice(event.data) is None])]
    return of_all + [(f"choice {i}, ", [event for event in events if _choice(event.data) == i]) for i in choices]


def _choice(data: Any) -> int | None:
    """Which choice a chunk of OpenAI's or llama.cpp's native kind belongs to."""
    if not isinstance(data, dict):
        return None
    native = "content" in data and "stop" in data
    index = data.get("index") if native else (data.get("choices") or [{}])[0].get("index")
    return index if isinstance(index, int) else None


def _event_problems(want: Sequence[Event], have: Sequence[Event], allows: Allows) -> list[str]:
    """Both as one event for each run of equal shapes: how long a run is, is the model's affair."""
    if len(want) != len(have):
        return [f"kinds of events: {_outline(want)} expected, not {_outline(have)}"]
    problems: list[str] = []
    for i, (theirs, ours) in enumerate(zip(want, have, strict=True)):
        if theirs.name != ours.name:
            problems.append(f"event {i}: named {theirs.name!r} there, {ours.name!r} here")
        problems += [f"event {i}: {line}" for line in differences(theirs.data, ours.data, allows)]
        if DONE in (theirs.data, ours.data) and theirs.data != ours.data:
            problems.append(f"event {i}: {theirs.data!r} expected, not {ours.data!r}")
    return problems


def _runs(events: Sequence[Event], allows: Allows) -> list[Event]:
    runs: list[tuple[str, Event]] = []
    for event in events:
        key = f"{event.name} {DONE if event.data == DONE else fingerprint(without(event.data, allows))}"
        if not runs or runs[-1][0] != key:
            runs.append((key, event))
    return [event for _, event in runs]


def _outline(events: Sequence[Event]) -> str:
    return " ".join(f"{event.name or ''}{_keys(event.data)}" for event in events)


def _keys(data: Any) -> str:
    """The keys that tell one kind of event from another."""
    if not isinstance(data, dict):
        return str(data)
    choice = data["choices"][0] if data.get("choices") else {}
    inner = choice.get("delta", choice) if isinstance(choice, dict) else {}
    return "{" + ",".join([*inner, *(key for key in data if key not in {"id", "created", "model", "object"})]) + "}"
