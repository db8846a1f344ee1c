from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.engine.tool_formats import (
    DEEPSEEK_V3,
    DEEPSEEK_V31,
    GRANITE,
    HERMES,
    LLAMA3,
    MISTRAL,
    MISTRAL_V11,
    PLAIN,
    ToolFormat,
    detect,
)
from backends.engine.tool_parsers import CallArguments, CallStart, Part, ToolCallParser

FORMATS = {
    each.name: each for each in (HERMES, LLAMA3, GRANITE, MISTRAL, MISTRAL_V11, DEEPSEEK_V3, DEEPSEEK_V31, PLAIN)
}
NAMES = frozenset({"f", "get_weather"})
Call = tuple[str, str]


def parse(syntax: ToolFormat, text: str, size: int = 1) -> list[str | Call]:
    """Texts and calls in order; pieces that belong together are joined."""
    parser = ToolCallParser(syntax, NAMES)
    parts = [part for start in range(0, len(text), size) for part in parser.feed(text[start : start + size])]
    return join([*parts, *parser.finish()])


def join(parts: list[Part]) -> list[str | Call]:
    joined: list[str | Call] = []
    for part in parts:
        last = joined[-1] if joined else None
        match part, last:
            case CallStart(), _:
                joined.append((part.name, ""))
            case CallArguments(), (name, arguments):
                joined[-1] = (name, arguments + part.text)
            case str(), str():
                joined[-1] = last + part
            case _:
                joined.append(part)
    return joined


def write(syntax: ToolFormat, calls: list[Call]) -> str:
    """The calls as the model was trained to write them."""
    shape = syntax.shape
    written = [f"{shape.head}{name}{shape.middle}{arguments}{shape.tail}" for name, arguments in calls]
    return shape.begin + (shape.between or "").join(written) + shape.end


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize("syntax", FORMATS.values(), ids=FORMATS)
def test_every_format_is_read(syntax: ToolFormat, size: int) -> None:
    calls = [("get_weather", '{"city": "Köln \\"}]", "days": [1, {}]}'), ("f", "{}")]
    calls = calls[: 1 if syntax.shape.between is None else 2]
    assert parse(syntax, write(syntax, calls), size) == calls


REAL = {
    "hermes, compact": (HERMES, '<tool_call>{"name":"f","arguments":{"x":1}}</tool_call>', [("f", '{"x":1}')]),
    "hermes, keys turned round": (
        HERMES,
        '<tool_call>\n{"arguments": {"x": 1}, "name": "f"}\n</tool_call>',
        [("f", '{"x": 1}')],
    ),
    "hermes, arguments as text": (
        HERMES,
        '<tool_call>{"name": "f", "arguments": "{\\"x\\": 1}"}</tool_call>',
        [("f", '{"x": 1}')],
    ),
    "hermes, no arguments": (HERMES, '<tool_call>{"name": "f"}</tool_call>', [("f", "{}")]),
    "hermes, arguments null": (HERMES, '<tool_call>{"name": "f", "arguments": null}</tool_call>', [("f", "{}")]),
    "hermes, no closing tag": (HERMES, '<tool_call>{"name": "f", "arguments": {}}', [("f", "{}")]),
    "hermes, after text": (
        HERMES,
        'I look.\n<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>\n',
        ["I look.\n", ("f", "{}")],
    ),
    "hermes, text after": (
        HERMES,
        '<tool_call>{"name": "f", "arguments": {}}</tool_call>\nDone.',
        [("f", "{}"), "\nDone."],
    ),
    "llama3, bare": (LLAMA3, '\n{"name": "f", "parameters": {"x": "1"}}', [("f", '{"x": "1"}')]),
    "llama3, with a type": (LLAMA3, '{"type": "function", "name": "f", "parameters": {}}', [("f", "{}")]),
    "llama3, after its tag": (LLAMA3, '<|python_tag|>{"name": "f", "parameters": {}}', [("f", "{}")]),
    "llama3, several": (
        LLAMA3,
        '<|python_tag|>{"name": "f", "parameters": {}}; {"name": "get_weather", "parameters": {}}',
        [("f", "{}"), ("get_weather", "{}")],
    ),
    "mistral, with its ids": (
        MISTRAL,
        '[TOOL_CALLS] [{"name": "f", "arguments": {"x": 1}, "id": "abcdef123"}]',
        [("f", '{"x": 1}')],
    ),
    "mistral v11, with an id": (MISTRAL_V11, '[TOOL_CALLS]f[CALL_ID]abcdef123[ARGS]{"x": 1}', [("f", '{"x": 1}')]),
    "mistral v11, markers skipped": (MISTRAL_V11, '[TOOL_CALLS]f{"x": 1}', [("f", '{"x": 1}')]),
    "granite, spaced": (GRANITE, '<|tool_call|> [{"name": "f", "arguments": {}}]', [("f", "{}")]),
    "phi, closed": (GRANITE, '<|tool_call|>[{"name": "f", "arguments": {}}]<|/tool_call|>', [("f", "{}")]),
}


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize("case", REAL)
def test_what_models_really_write_is_read(case: str, size: int) -> None:
    syntax, text, parts = REAL[case]
    assert parse(syntax, text, size) == parts


NO_CALLS = {
    "not offered": (HERMES, '<tool_call>{"name": "rm", "arguments": {}}</tool_call>'),
    "no name": (HERMES, '<tool_call>{"arguments": {}}</tool_call>'),
    "not JSON": (HERMES, "<tool_call>f(1)</tool_call>"),
    "broken before the arguments": (HERMES, '<tool_call>{"name": "f", arguments: {}}</tool_call>'),
    "arguments are no object": (HERMES, '<tool_call>{"name": "f", "arguments": [1]}</tool_call>'),
    "arguments text is no object": (HERMES, '<tool_call>{"name": "f", "arguments": "hi"}</tool_call>'),
    "a tag alone": (HERMES, "Use <tool_call> and </tool_call>, <tool_"),
    "an empty object": (HERMES, "<tool_call>{}</tool_call>"),
    "cut off": (HERMES, '<tool_call>{"name": "f", "argum'),
    "an answer in JSON": (LLAMA3, '{"name": "Bob", "age": 3}'),
    "some other JSON": (LLAMA3, '{"a": {"name": "f", "parameters": {}}}'),
    "JSON not at the beginning": (LLAMA3, 'See: {"name": "f", "parameters": {}}'),
    "Python": (LLAMA3, '<|python_tag|>brave_search.call(query="x")'),
    "no array": (MISTRAL, "[TOOL_CALLS] are written so"),
    "no arguments": (MISTRAL_V11, "[TOOL_CALLS]f[ARGS]none"),
    "an empty envelope": (DEEPSEEK_V3, DEEPSEEK_V3.shape.begin + DEEPSEEK_V3.shape.end),
}


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize("case", NO_CALLS)
def test_a_call_that_does_not_parse_is_text(case: str, size: int) -> None:
    syntax, text = NO_CALLS[case]
    assert parse(syntax, text, size) == [text]


def test_arguments_stream_as_soon_as_the_call_is_certain() -> None:
    parser = ToolCallParser(HERMES, NAMES)
    assert parser.feed('Now: <tool_call>\n{"name": "f", "arguments"') == ["Now: "]
    assert parser.feed(': {"te') == [CallStart("f"), CallArguments('{"te')]
    assert parser.feed('xt": "one ') == [CallArguments('xt": "one ')]
    assert parser.feed("two\\") == [CallArguments("two")]
    assert parser.feed('n"}') == [CallArguments('\\n"}')]
    assert parser.feed("}\n</tool_call>") == []
    assert parser.finish() == []


def test_arguments_that_are_cut_off_are_arguments() -> None:
    assert parse(HERMES, '<tool_call>{"name": "f", "arguments": {"x": tr') == [("f", '{"x": tr')]


def test_arguments_that_cease_to_be_json_go_on_as_text() -> None:
    assert parse(HERMES, '<tool_call>{"name": "f", "arguments": {"x": ]oh</tool_call>') == [
        ("f", '{"x": '),
        "]oh</tool_call>",
    ]


def test_a_call_after_a_broken_one_is_found() -> None:
    good = '<tool_call>{"name": "f", "arguments": {}}</tool_call>'
    assert parse(HERMES, f"<tool_call>broken {good}") == ["<tool_call>broken ", ("f", "{}")]


def test_a_second_call_that_is_broken_is_text() -> None:
    text = '[TOOL_CALLS][{"name": "f", "arguments": {}}, {"name": "rm", "arguments": {}}]'
    assert parse(MISTRAL, text) == [("f", "{}"), ', {"name": "rm", "arguments": {}}]']


SCRAPS = [
    *("<tool_call>", "</tool_call>", "[TOOL_CALLS]", "[ARGS]", "<|python_tag|>", "<|tool_call|>"),
    *('{"name": "f", "arguments": ', '{"name": "rm", "arguments": ', "{}", '{"x": "', '"}', "f"),
    *(*'{}[],"<1 \n', "a"),
]
scraps = st.lists(st.sampled_from(SCRAPS), max_size=12).map("".join)


@given(st.sampled_from(sorted(FORMATS)), scraps, st.integers(1, 9))
def test_it_does_not_matter_how_the_text_is_cut(name: str, text: str, size: int) -> None:
    assert parse(FORMATS[name], text, size) == parse(FORMATS[name], text, 1000)


@given(st.sampled_from(sorted(FORMATS)), scraps, st.integers(1, 9))
def test_nothing_disappears_where_there_is_no_call(name: str, text: str, size: int) -> None:
    parts = parse(FORMATS[name], text, size)
    if not any(isinstance(part, tuple) for part in parts):
        assert "".join(map(str, parts)) == text


@given(st.sampled_from(sorted(FORMATS)), scraps, st.integers(1, 9))
def test_with_calls_only_their_syntax_disappears(name: str, text: str, size: int) -> None:
    """Everything that comes out stands in the text, in the same order; what is missing is syntax."""
    place = 0
    for part in parse(FORMATS[name], text, size):
        piece = part if isinstance(part, str) else part[1]
        if piece == "{}" and isinstance(part, tuple) and "{}" not in text[place:]:
            continue  # arguments that the model left out
        found = text.find(piece, place)
        assert found >= 0
        place = found + len(piece)


words = st.text("ab <\n", min_size=1, max_size=8).filter(lambda text: text.strip())
arguments = st.dictionaries(st.text(max_size=5), st.text(max_size=5) | st.integers(), max_size=3).map(json.dumps)
turns = st.lists(st.one_of(words, st.tuples(st.sampled_from(sorted(NAMES)), arguments)), max_size=5)


@given(turns, st.integers(1, 9))
def test_text_and_calls_in_any_order_come_out_in_that_order(turns: list[str | Call], size: int) -> None:
    text = "".join(turn if isinstance(turn, str) else write(HERMES, [turn]) for turn in turns)
    expected = join([part for turn in turns for part in ([turn] if isinstance(turn, str) else
                     [CallStart(turn[0]), CallArguments(turn[1])])])  # fmt: skip
    assert parse(HERMES, text, size) == expected


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("{{ '<tool_call>' }}", "hermes"),
        ('"{\\"name\\": function name, \\"parameters\\": …"<|start_header_id|>ipython', "llama3"),
        ("[AVAILABLE_TOOLS] [TOOL_CALLS]", "mistral"),
        ("[TOOL_CALLS] + name + [ARGS]", "mistral-v11"),
        (f"{DEEPSEEK_V3.shape.begin} ```json", "deepseek-v3"),
        (DEEPSEEK_V3.shape.begin, "deepseek-v3.1"),
        ("<|tool_call|>", "granite"),
        ("{{ tools | tojson }}", "json"),
    ],
)
def test_the_template_tells_the_format(template: str, name: str) -> None:
    assert detect(template).name == name


def test_ids_are_as_the_family_wants_them() -> None:
    assert HERMES.new_id().startswith("call_")
    assert HERMES.new_id() != HERMES.new_id()
    assert len(MISTRAL.new_id()) == 9
    assert MISTRAL.new_id().isalnum()
