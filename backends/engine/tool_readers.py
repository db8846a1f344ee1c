"""Readers of tool calls, one for each way in which families of models write them.

A reader begins right after the marker that opened the calls. It hands over a call as soon as its name is known and its
arguments have begun; what it raises before that means that the text was no call. Knows nothing of tools or events.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from backends.engine.cursor import MAX_NAME, Cursor, Reading, Unexpected

CALLS_BEGIN, CALLS_END = "<\uff5ctool▁calls▁begin\uff5c>", "<\uff5ctool▁calls▁end\uff5c>"
CALL_BEGIN, CALL_END = "<\uff5ctool▁call▁begin\uff5c>", "<\uff5ctool▁call▁end\uff5c>"
CALL_SEP = "<\uff5ctool▁sep\uff5c>"


class Calls(Protocol):
    """Who is told of calls. Both ways raise Unexpected for a name that isn't offered."""

    def read_call(self, name: str) -> Reading[None]:
        """Its arguments, a JSON object, begin at the cursor; they are read, and passed on as they come.

        Raises Unexpected where there is no object.
        """
        ...

    def give_call(self, name: str, arguments: str) -> None:
        """All of it is read already."""
        ...

    def end(self) -> None:
        """Whatever comes next, what was read so far is no text."""
        ...


Reader: TypeAlias = Callable[[Cursor, Calls], Reading[None]]


def read_hermes(cursor: Cursor, calls: Calls) -> Reading[None]:
    """`<tool_call>{"name": …, "arguments": {…}}</tool_call>`: NousResearch/Hermes-Function-Calling, Qwen."""
    yield from cursor.skip_blanks()
    yield from read_object(cursor, calls)
    yield from cursor.skip_blanks()
    yield from cursor.expect("</tool_call>")


def read_objects(cursor: Cursor, calls: Calls) -> Reading[None]:
    """One object or several, as Llama 3 writes them: `{"name": …, "parameters": {…}}`, with `;` between."""
    yield from read_object(cursor, calls)
    while True:
        yield from cursor.skip_blanks()
        yield from cursor.accept(";")
        yield from cursor.skip_blanks()
        yield from read_object(cursor, calls)


def read_mistral(cursor: Cursor, calls: Calls) -> Reading[None]:
    """`[TOOL_CALLS][{"name": …, "arguments": {…}}, …]`, or `[TOOL_CALLS]name[ARGS]{…}` since tokenizer v11
    (mistralai/mistral-common)."""
    yield from cursor.skip_blanks()
    if (yield from cursor.peek()) == "[":
        yield from read_list(cursor, calls)
        return
    name = yield from _read_mistral_name(cursor)
    yield from calls.read_call(name)


def read_list(cursor: Cursor, calls: Calls) -> Reading[None]:
    """`[{"name": …, "arguments": {…}}, …]`"""
    yield from cursor.expect("[")
    while True:
        yield from cursor.skip_blanks()
        yield from read_object(cursor, calls)
        yield from cursor.skip_blanks()
        if (yield from cursor.accept("]")):
            calls.end()
            return
        yield from cursor.expect(",")


def _read_mistral_name(cursor: Cursor) -> Reading[str]:
    """With `[CALL_ID]…` and `[ARGS]` after it, or neither where they were skipped."""
    name = ""
    while (char := (yield from cursor.peek())) not in "[{":
        name += char
        cursor.place += 1
        if len(name) > MAX_NAME:
            raise Unexpected("a name")
    if (yield from cursor.accept("[CALL_ID]")):
        yield from cursor.read_until("[ARGS]")
    else:
        yield from cursor.accept("[ARGS]")
    return name.strip()


def read_marked_list(cursor: Cursor, calls: Calls) -> Reading[None]:
    """`<|tool_call|>[{…}, …]`, as Granite writes it; Phi closes it with `<|/tool_call|>`."""
    yield from cursor.skip_blanks()
    yield from read_list(cursor, calls)
    yield from cursor.accept("<|/tool_call|>")


def read_deepseek(cursor: Cursor, calls: Calls) -> Reading[None]:
    """V3 and R1 name a type first and fence the JSON, V3.1 doesn't (the chat templates of deepseek-ai's models)."""
    while True:
        yield from cursor.skip_blanks()
        if (yield from cursor.accept(CALLS_END)):
            return
        yield from cursor.expect(CALL_BEGIN)
        name = yield from cursor.read_until(CALL_SEP)
        is_fenced = name == "function"
        if is_fenced:
            name = yield from cursor.read_until("\n")
            yield from cursor.expect("```json")
            yield from cursor.skip_blanks()
        yield from calls.read_call(name.strip())
        yield from cursor.skip_blanks()
        if is_fenced:
            yield from cursor.expect("```")
            yield from cursor.skip_blanks()
        yield from cursor.expect(CALL_END)
        calls.end()


def read_object(cursor: Cursor, calls: Calls) -> Reading[None]:
    """`{"name": …, "arguments": {…}}`, the keys in any order; arguments are `parameters` in Llama 3."""
    call = _Object()
    yield from cursor.expect("{")
    yield from cursor.skip_blanks()
    while True:
        yield from _read_member(cursor, calls, call)
        yield from cursor.skip_blanks()
        if (yield from cursor.accept("}")):
            break
        yield from cursor.read_separator(",")
    if call.name is None:
        raise Unexpected("a name")
    if not call.is_started:
        calls.give_call(call.name, call.arguments)
    calls.end()


@dataclass(slots=True)
class _Object:
    name: str | None = None
    arguments: str = "{}"
    is_started: bool = False


def _read_member(cursor: Cursor, calls: Calls, call: _Object) -> Reading[None]:
    key = yield from cursor.read_json_string()
    yield from cursor.read_separator(":")
    if key == "name":
        call.name = yield from cursor.read_json_string()
    elif key in ("arguments", "parameters"):
        if call.name is not None and (yield from cursor.peek()) == "{":
            call.is_started = True
            yield from calls.read_call(call.name)
        else:
            call.arguments = yield from _read_early_arguments(cursor)
    elif call.is_started or key in ("type", "id"):
        yield from cursor.read_json()
    else:
        raise Unexpected("a call")


def _read_early_arguments(cursor: Cursor) -> Reading[str]:
    """Arguments that come before the name, or as text, or not at all (null)."""
    begin = cursor.place
    yield from cursor.read_json()
    text = cursor.text[begin : cursor.place]
    value = json.loads(text)
    if isinstance(value, str):
        text, value = value, _parsed(value)
    if text in ("null", ""):
        return "{}"
    if not isinstance(value, dict):
        raise Unexpected("an object")
    return text


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None
