"""Two JSON values compared by what a client relies on: keys, their order, types, and words of the protocol.

Never by what the model said, nor by numbers that differ from run to run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

Allows: TypeAlias = Callable[[str], bool]
"""May this path (`$.a.b[].c`) stand in our answer though the other server doesn't send it?"""


def nothing_extra(path: str) -> bool:
    return False


PROTOCOL_WORDS = frozenset({"object", "role", "type", "stop", "done", "owned_by", "status", "success"})
"""Keys whose values are the protocol's, not the model's: these must be equal where they are scalars."""
SETTINGS = re.compile(r".*\.generation_settings\.(?!grammar$|seed$)\w+(\[\])?")
"""What the request said or that server's defaults are: equal too. A grammar's text is each compiler's own; a seed may
count up over several choices."""

TOKENS_AS_KEYS = re.compile(r".*\.logprobs\.top_logprobs\[\]")
"""Text completions name their likeliest tokens by keys: those are the model's words."""


def kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "bool"
        case _:
            return type(value).__name__


def differences(want: Any, have: Any, allows: Allows, path: str = "$") -> list[str]:
    """One line for each difference, naming the path. allows: extra keys that are meant."""
    if kind(want) != kind(have):
        return [f"{path}: {kind(want)} expected, not {kind(have)}"]
    match want:
        case dict() if TOKENS_AS_KEYS.fullmatch(path):
            return _list_differences([*want.values()], [*have.values()], allows, path)
        case dict():
            return _object_differences(want, have, allows, path)
        case list():
            return _list_differences(want, have, allows, path)
        case _ if want != have and (path.rpartition(".")[2] in PROTOCOL_WORDS or SETTINGS.fullmatch(path)):
            return [f"{path}: {want!r} expected, not {have!r}"]
        case _:
            return []


def _object_differences(want: dict[str, Any], have: dict[str, Any], allows: Allows, path: str) -> list[str]:
    ours = [key for key in have if key in want or not allows(f"{path}.{key}")]
    missing = [key for key in want if key not in have]
    unexpected = [key for key in ours if key not in want]
    problems = [f"{path}: no {key!r}" for key in missing]
    problems += [f"{path}: {key!r} is not sent by that server" for key in unexpected]
    if not problems and ours != list(want):
        problems.append(f"{path}: keys in the order {ours}, not {list(want)}")
    for key in [key for key in want if key in have]:
        problems += differences(want[key], have[key], allows, f"{path}.{key}")
    return problems


def _list_differences(want: Sequence[Any], have: Sequence[Any], allows: Allows, path: str) -> list[str]:
    """Each item of ours must be like one of theirs; how many there are is the model's affair, but none is a kind."""
    if bool(want) != bool(have):
        return [f"{path}: {'an empty list' if have else 'a list with items'} expected"]
    problems: list[str] = []
    for item in have:
        problems += _fewest(differences(other, item, allows, f"{path}[]") for other in want)
    return list(dict.fromkeys(problems))


def _fewest(candidates: Iterable[list[str]]) -> list[str]:
    fewest: list[str] | None = None
    for problems in candidates:
        if not problems:
            return []
        if fewest is None or len(problems) < len(fewest):
            fewest = problems
    return fewest or []


def without(value: Any, allows: Allows, path: str = "$") -> Any:
    """The value without the extra keys that are meant."""
    match value:
        case dict():
            kept = {key: f"{path}.{key}" for key in value if not allows(f"{path}.{key}")}
            return {key: without(value[key], allows, where) for key, where in kept.items()}
        case list():
            return [without(item, allows, f"{path}[]") for item in value]
        case _:
            return value


def skeleton(value: Any) -> Any:
    """Types in the place of values; a list holds each shape of its items once."""
    match value:
        case dict():
            return {key: skeleton(item) for key, item in value.items()}
        case list():
            shapes = [skeleton(item) for item in value]
            return [shape for i, shape in enumerate(shapes) if shape not in shapes[:i]]
        case _:
            return kind(value)


def fingerprint(value: Any) -> str:
    """Equal for values of one shape, key order included."""
    return json.dumps(skeleton(value))


def is_spaced(text: str) -> bool:
    """Does this JSON text have a blank after a comma or colon, outside its strings?"""
    outside = "".join(text.replace("\\\\", "").replace('\\"', "").split('"')[::2])
    return ": " in outside or ", " in outside
