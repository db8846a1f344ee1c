"""What a server's own source says that it answers, as cases: Ollama's, and that of the servers that few speak.

`golden/<dialect>` holds one expectation a file. Many of these stand for a state (a full queue, a model that can't
think), which a scripted model plays.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from tests.conformance.case import Case, column_of, with_feature
from tests.conformance.paths import select
from tests.conformance.shape import kind
from tests.conformance.stream import DONE, framing_problems, is_stream, parse_events
from tests.conformance.wire import Answer, Request

PROFILES = {
    "chat_no_chat_capability": "plain",
    "gen_no_generate_capability": "plain",
    "chat_no_thinking": "plain",
    "gen_no_insert": "plain",
    "chat_queue_full": "full queue",
    "chat_stream_error_mid": "breaks",
    "chat_tool_call_stream": "one call",
    "v1_chat_stream_tool_calls": "one call",
    "v1_chat_stream_length": "cut",
    "v1_chat_stream_empty": "silent",
}
_ASK: dict[str, Any] = {"model": "test", "messages": [{"role": "user", "content": "x"}]}
_WEATHER = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}
BODIES: Mapping[str, dict[str, Any]] = {
    "chat_tool_call_stream": {"tools": [_WEATHER]},
    "pull_progress_line": {"model": "test"},
    "logprob_shape": _ASK | {"options": {"num_predict": 4}},
    "v1_chat_stream_empty": _ASK,
    "v1_chat_stream_length": _ASK,
    "v1_chat_stream_tool_calls": _ASK | {"tools": [_WEATHER]},
}
"""What a test's mock left out, but a real server needs."""
STREAM_RULES = ("frames", "frames_count", "line_shape", "assert_last", "chunk_keys_order")
SAYS_NOTHING = frozenset({"crlf", "status", "content_type", "basis", "note", "order"})
NOT_ON_THE_WIRE = "parameters lines sorted"
"""An assertion about a model file's own parameters, which no model of ours has."""


def load(folder: Path) -> Iterator[Case]:
    """The folder has the dialect's name, which is also the persona's."""
    for path in sorted(folder.glob("*.json")):
        data = json.loads(path.read_text())
        request, expect = _request(data), data["expect"]
        status = expect.get("status", 200)
        streams = any(key in expect for key in STREAM_RULES)
        yield Case(
            id=f"{folder.name}/{path.stem}",
            dialect=with_feature(folder.name, request.path),
            column=column_of(request.method, status, streams=streams, is_about_routes=False),
            profile=data.get("profile") or PROFILES.get(path.stem, "strict"),
            persona=folder.name,
            request=request,
            check=functools.partial(_check, expect),
        )


def _request(data: dict[str, Any]) -> Request:
    asked = data["request"]
    body = asked["body"]
    if data["case"] in BODIES:
        body |= BODIES[data["case"]]
    sent = body.encode() if isinstance(body, str) else b"" if body is None else json.dumps(body).encode()
    has_body = asked["method"] not in {"GET", "HEAD"}
    return Request.build(asked["method"], asked["path"], sent if has_body else None, asked.get("headers", {}))


def _check(expect: dict[str, Any], answer: Answer) -> list[str]:
    problems = []
    if answer.status != expect.get("status", 200):
        return [f"status {expect.get('status', 200)} expected, not {answer.status}: {answer.body[:200]!r}"]
    if expect.get("content_type", answer.content_type) != answer.content_type:
        problems.append(f"Content-Type {expect['content_type']!r} expected, not {answer.content_type!r}")
    if is_stream(answer.content_type):
        end = b"\r\n\r\n" if expect.get("crlf") else b"\n\n"
        problems += framing_problems(answer.content_type, answer.chunks, end=end)
    try:
        for key, wanted in expect.items():
            if key not in SAYS_NOTHING:
                problems += CHECKS[key](wanted, answer)
    except (ValueError, LookupError, AttributeError) as error:
        problems.append(f"{type(error).__name__}: {error}: {answer.body[:200]!r}")
    return problems


def _document(answer: Answer) -> Any:
    """The body; of a stream, the last line or event."""
    return _events(answer)[-1] if is_stream(answer.content_type) else json.loads(answer.body)


def _events(answer: Answer) -> list[Any]:
    return [event.data for event in parse_events(answer.content_type, answer.body) if event.data != DONE]


def _asserts(wanted: dict[str, Any], answer: Answer) -> list[str]:
    whole = {"frames": _events(answer)} if is_stream(answer.content_type) else _document(answer)
    checked = ((path, value) for path, value in wanted.items() if path != NOT_ON_THE_WIRE)
    return [problem for path, value in checked for problem in _unlike(value, select(whole, path)[0], path)]


def _asserts_last(wanted: dict[str, Any], answer: Answer) -> list[str]:
    """A path under `message` may be in any line: only a mock sends its tool call together with `done`."""
    problems = []
    for path, value in wanted.items():
        events = _events(answer)
        lines = events if path.startswith("message") else events[-1:]
        found = [item for line in lines for item in _selected(line, path)]
        if not found:
            problems.append(f"no line has {path}")
        problems += [problem for item in found for problem in _unlike(value, item, path)]
    return problems


def _selected(value: Any, path: str) -> list[Any]:
    try:
        return select(value, path)
    except LookupError:
        return []


def _unlike(wanted: Any, have: Any, path: str) -> list[str]:
    if isinstance(wanted, str) and wanted.startswith("^"):
        return [] if re.search(wanted, str(have)) else [f"{path}: {have!r} doesn't match {wanted}"]
    return [] if wanted == have else [f"{path}: {wanted!r} expected, not {have!r}"]


def _keys_in_order(wanted: list[str], have: dict[str, Any]) -> list[str]:
    """`name?` may be missing."""
    required = [name for name in wanted if not name.endswith("?")]
    known = [name.rstrip("?") for name in wanted]
    problems = [f"no {name!r}" for name in required if name not in have]
    problems += [f"{name!r} is not sent by Ollama" for name in have if name not in known]
    in_order = [name for name in known if name in have]
    return problems or ([] if list(have) == in_order else [f"keys in the order {list(have)}, not {in_order}"])


def _shape(wanted: Any, answer: Answer) -> list[str]:
    return _like_types(wanted, _document(answer), "$")


def _like_types(wanted: Any, have: Any, path: str) -> list[str]:
    """wanted: a skeleton with the names of types."""
    match wanted:
        case dict():
            optional = {key for key, name in wanted.items() if isinstance(name, str) and name.endswith("?")}
            problems = _keys_in_order([f"{key}?" if key in optional else key for key in wanted], have)
            inner = [(wanted[key], have[key], f"{path}.{key}") for key in wanted if key in have]
            return problems + [problem for each in inner for problem in _like_types(*each)]
        case list():
            return [problem for item in have for problem in _like_types(wanted[0], item, f"{path}[]")]
        case "rfc3339nano":
            pattern = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)"
            return [] if re.fullmatch(pattern, have) else [f"{path}: {have!r} is not a timestamp"]
        case _:
            return [] if kind(have) == wanted.rstrip("?") else [f"{path}: {wanted} expected, not {kind(have)}"]


def _durations(_wanted: str, answer: Answer) -> list[str]:
    durations = {key: value for key, value in _document(answer).items() if key.endswith("_duration")}
    return [f"{key} is {value!r}" for key, value in durations.items() if not isinstance(value, int)]


def _lines(wanted: dict[str, Any], answer: Answer) -> list[str]:
    return [problem for line in _events(answer) for problem in _like_types(wanted, line, "line")]


def _frames_contain(wanted: list[list[str]], answer: Answer) -> list[str]:
    frames = [event.raw.decode() for event in parse_events(answer.content_type, answer.body)]
    pairs = zip(wanted, frames, strict=False)
    return [f"frame {i} has no {text}" for i, (texts, frame) in enumerate(pairs) for text in texts if text not in frame]


def _frames(wanted: list[str], answer: Answer) -> list[str]:
    """Patterns of the first frame, of those between, and of the last, byte by byte."""
    frames = [chunk.decode() for chunk in answer.chunks or ()]
    first, between, last = wanted
    pairs = [(first, frames[0]), *((between, frame) for frame in frames[1:-1]), (last, frames[-1])]
    return [f"{frame!r} doesn't match {pattern}" for pattern, frame in pairs if not re.fullmatch(pattern, frame)]


def _headers(wanted: dict[str, str | None], answer: Answer) -> list[str]:
    """Patterns of values; null: there is no such header."""
    found = {name: answer.header(name) for name in wanted}
    return [
        f"{name}: {pattern!r} expected, not {found[name]!r}"
        for name, pattern in wanted.items()
        if (found[name] is None) != (pattern is None) or not re.fullmatch(pattern or "", found[name] or "")
    ]


def _frames_counted(wanted: int, answer: Answer) -> list[str]:
    num_frames = len(parse_events(answer.content_type, answer.body))
    return [] if num_frames == wanted else [f"{wanted} frames expected, not {num_frames}"]


def _tool_call_keys(wanted: list[str], answer: Answer) -> list[str]:
    calls = [call for event in _events(answer) for call in _selected(event, "choices[].delta.tool_calls[]")]
    return [problem for call in calls for problem in _keys_in_order(wanted, call)] if calls else ["no tool call"]


def _logprob_keys(wanted: list[str], answer: Answer) -> list[str]:
    return [problem for item in _document(answer)["logprobs"] for problem in _keys_in_order(wanted, item)]


def _last_line_exact(wanted: str, answer: Answer) -> list[str]:
    last = answer.body.decode().splitlines()[-1]
    pattern = re.escape(wanted).replace("<message>", '[^"]+')
    return [] if re.fullmatch(pattern, last) else [f"the last line is {last}, not {wanted}"]


def _body(is_right: bool, wanted: object, answer: Answer) -> list[str]:
    return [] if is_right else [f"{wanted!r} expected, not {answer.body[:300].decode('utf-8', 'replace')!r}"]


_Rule: TypeAlias = Callable[[Any, Answer], list[str]]
CHECKS: Mapping[str, _Rule] = {
    "assert": _asserts,
    "assert_last": _asserts_last,
    "body_contains": lambda wanted, answer: _body(all(x in answer.body.decode() for x in wanted), wanted, answer),
    "body_exact": lambda wanted, answer: _body(answer.body.decode() == wanted, wanted, answer),
    "body_keys_order": lambda wanted, answer: _keys_in_order(wanted, _document(answer)),
    "body_regex": lambda wanted, answer: _body(bool(re.search(wanted, answer.body.decode())), wanted, answer),
    "body_shape": _shape,
    "chunk_keys_order": lambda wanted, answer: [p for event in _events(answer) for p in _keys_in_order(wanted, event)],
    "durations_unit": _durations,
    "frames": _frames,
    "frames_contains": _frames_contain,
    "frames_count": _frames_counted,
    "headers": _headers,
    "last_line": lambda wanted, answer: _body(_events(answer)[-1] == wanted, wanted, answer),
    "last_line_exact": _last_line_exact,
    "line_shape": _lines,
    "logprob_item_keys_order": _logprob_keys,
    "no_body": lambda _wanted, answer: _body(answer.body == b"", "no body", answer),
    "omitempty": lambda wanted, answer: [f"{key} is 0" for key in wanted if _document(answer).get(key) == 0],
    "terminator": lambda wanted, answer: _body(answer.body.decode().endswith(wanted), wanted, answer),
    "tool_call_keys_order": _tool_call_keys,
    "trailing_newline": lambda wanted, answer: _body(answer.body.endswith(b"\n") == wanted, "a newline", answer),
}
"""Everything that an expectation can say; a word that isn't here is an error, never passed over."""
