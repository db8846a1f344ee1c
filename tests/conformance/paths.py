"""The path notation of `golden/vectors.jsonl` and of the Ollama expectations, evaluated on JSON values.

Dotted; `[]` every element, `[0]` one; in streams `first.`, `any.`, `last.` choose events; `$` the whole body; `=value`
asserts a value, a leading `!` absence; `|` separates alternatives.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

_EVENT_OF_STREAM = re.compile(r"(first|any|last)\.")


def missing_path(rule: str, body: Any, events: Sequence[Any] | None) -> str | None:
    """What is wrong, or None. body: the document, or the text; events: of a stream, `[DONE]` left out."""
    if rule.startswith("!"):
        return f"{rule[1:]} must be absent" if missing_path(rule[1:], body, events) is None else None
    path, asserts, wanted = rule.partition("=")
    for alternative in path.split("|"):
        found = list(_candidates(alternative, body, events))
        if found and (not asserts or any(_is_one_of(wanted, values) for values in found)):
            return None
        if found and asserts:
            return f"{path} is {found[0][0]!r}, not {wanted!r}"
    return f"no {path}"


def _candidates(path: str, body: Any, events: Sequence[Any] | None) -> Iterator[list[Any]]:
    """For each event that qualifies, the values at the path; a document is its own only event."""
    found = _EVENT_OF_STREAM.match(path)
    if found is None:
        where: Sequence[Any] = [body]
    elif not events:
        return
    else:
        where = {"first": events[:1], "last": events[-1:], "any": events}[found[1]]
    for value in where:
        try:
            yield select(value, path[found.end() :] if found else path)
        except LookupError:
            continue


def select(value: Any, path: str) -> list[Any]:
    """Every value at the path; more than one only after `[]`. Raises LookupError where it leads nowhere."""
    values = [value]
    for step in re.findall(r"\$|\[-?\d*\]|[^.\[\]]+", path):
        values = [item for each in values for item in _step(each, step)]
    return values


def _step(value: Any, step: str) -> list[Any]:
    if step == "$":
        return [value]
    if step == "[]":
        if not isinstance(value, list) or not value:
            raise LookupError(step)
        return value
    if step.startswith("["):
        if not isinstance(value, list):
            raise LookupError(step)
        return [value[int(step[1:-1])]]
    if not isinstance(value, dict):
        raise LookupError(step)
    return [value[step]]


def _is_one_of(wanted: str, values: Sequence[Any]) -> bool:
    return all(any(_equals(value, choice) for choice in wanted.split("|")) for value in values)


def _equals(value: Any, wanted: str) -> bool:
    """`=400` is the number, `=ok` the string; `=true` either, since some servers send it as a string."""
    try:
        parsed = json.loads(wanted)
    except ValueError:
        parsed = wanted
    return value == wanted or (value == parsed and isinstance(value, bool) == isinstance(parsed, bool))
