"""The lines of `golden/vectors.jsonl` as cases: status, content type, framing, and the paths that must be there."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.conformance.case import Case, column_of, with_feature
from tests.conformance.paths import missing_path
from tests.conformance.stream import DONE, Event, framing_problems, parse_events
from tests.conformance.wire import Answer, Request

DIALECTS = {"llama.cpp": "llamacpp", "llama-cpp-python": "llamacpp-python"}
"""Where the vectors' name of a dialect is not ours."""
PERSONAS = {
    "llamacpp": "llamacpp",
    "ollama": "ollama",
    "copilot-byok": "ollama",
    "tgi": "tgi",
    "kobold": "kobold",
    "copilot-engines": "openai",
    "tabby": "tabby",
    "lmstudio": "lmstudio",
    "ooba": "openai",
}
PROFILES = {
    "lc-017": "cut",  # some text has to come
    "lc-033": "keys",
    "ol-019": "tools",
    "ol-021": "thinking",
    "ol-028": "strict",
}
"""Vectors that need something else than the embedded model with any name accepted."""


def load(path: Path) -> Iterator[Case]:
    for line in path.read_text().splitlines():
        vector = json.loads(line)
        dialect = DIALECTS.get(vector["dialect"], vector["dialect"])
        expect = vector["expect"]
        streams = expect["framing"] in {"ndjson", "sse-data", "sse-data-done", "sse-named"}
        is_about_routes = any("File Not Found" in rule or "page not found" in rule for rule in _rules(expect))
        yield Case(
            id=f"vectors/{vector['id']}",
            dialect=f"{dialect}/keys" if vector["id"] == "lc-033" else with_feature(dialect, vector["path"]),
            column=column_of(vector["method"], expect["status"], streams=streams, is_about_routes=is_about_routes),
            profile=PROFILES.get(vector["id"], "engine"),
            persona=PERSONAS.get(dialect, "openai"),
            request=_request(vector),
            check=functools.partial(_check, expect),
        )


def _rules(expect: dict[str, Any]) -> list[str]:
    rules: list[str] = expect["required_json_paths"]
    return rules


def _request(vector: dict[str, Any]) -> Request:
    body = vector["body"]
    sent = body.encode() if isinstance(body, str) else None if body is None else json.dumps(body).encode()
    return Request.build(vector["method"], vector["path"], sent, vector.get("headers", {}))


def _check(expect: dict[str, Any], answer: Answer) -> list[str]:
    if answer.status != expect["status"]:
        return [f"status {expect['status']} expected, not {answer.status}: {answer.body[:200]!r}"]
    if expect["content_type"] != "*" and not answer.content_type.startswith(expect["content_type"]):
        return [f"Content-Type {expect['content_type']} expected, not {answer.content_type!r}"]
    try:
        body, events = _read(expect["framing"], answer)
    except ValueError as error:
        return [f"not {expect['framing']}: {error}"]
    found = (missing_path(rule, body, events) for rule in _rules(expect))
    problems = [problem for problem in found if problem]
    return problems if events is None else problems + _stream_problems(expect["framing"], answer)


def _read(framing: str, answer: Answer) -> tuple[Any, Sequence[Any] | None]:
    match framing:
        case "json":
            return json.loads(answer.body), None
        case "text" | "empty":
            return answer.body.decode(), None
        case _:
            events = parse_events(answer.content_type, answer.body)
            return None, [event.data for event in events if event.data != DONE]


def _stream_problems(framing: str, answer: Answer) -> list[str]:
    events = parse_events(answer.content_type, answer.body)
    problems = framing_problems(answer.content_type, answer.chunks)
    done = [i for i, event in enumerate(events) if event.data == DONE]
    if done != ([len(events) - 1] if framing == "sse-data-done" else []):
        problems.append(f"[DONE] at {done} of {len(events)} events, in {framing}")
    named = framing == "sse-named"
    return problems + [f"event {i}: {problem}" for i, event in enumerate(events) if (problem := _name(event, named))]


def _name(event: Event, named: bool) -> str | None:
    wanted = event.data.get("type") if named and isinstance(event.data, dict) else None
    return None if event.name == wanted else f"named {event.name!r}, not {wanted!r}"
