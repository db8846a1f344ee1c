"""What an answer must look like, written down for llguidance: its own kind of Lark.

Lower-case names are rules, upper-case ones lexemes (llguidance docs/syntax.md). Knows nothing of masks or threads.
"""

from __future__ import annotations

import json
import re
from typing import Any

from llguidance import regex_to_lark
from typing_extensions import assert_never

from backends.engine.gbnf_lark import gbnf_to_lark
from backends.engine.reasoning import Tags
from backends.engine.tokenizer import Tokenizer
from backends.engine.tool_formats import ToolFormat
from backends.errors import InvalidField
from backends.request import AnyJson, ChatPrompt, Choice, Gbnf, JsonSchema, NamedTool, OutputFormat, Regex, Tool

JSON_OPTIONS = {"whitespace_pattern": r"( |\n{1,2}[ \t]{0,20})"}
"""Compact, or with one blank, or indented: as much as llama.cpp allows (common/json-schema-to-grammar.cpp,
`SPACE_RULE`). Without a bound, a model may write blanks for ever."""

MAX_CALLS = 16

OPENING_KEYS = {"additionalProperties", "patternProperties", "anyOf", "oneOf", "$ref"}
MAP_KEYS = {"properties", "$defs", "definitions"}
VALUE_KEYS = {"const", "enum", "default", "examples"}
"""Of a JSON schema: say that there may be more properties; hold schemas by name; hold values, not schemas."""


def output_field(output: OutputFormat) -> str:
    """The word for an output format in error messages."""
    match output:
        case JsonSchema() | AnyJson():
            return "json_schema"
        case Regex():
            return "regex"
        case Choice():
            return "choice"
        case Gbnf():
            return "grammar"
        case _:
            assert_never(output)


def output_rules(output: OutputFormat, tokenizer: Tokenizer) -> str:
    """Lark whose rule `output` is the format. Raises InvalidField."""
    match output:
        case JsonSchema(schema):
            return f"output: %json {_json_source(schema)}"
        case AnyJson():
            return f"output: %json {_json_source({'type': 'object'})}"
        case Regex(pattern):
            return f"output: /{_regex_source(pattern)}/"
        case Choice(options):
            if not options:
                raise InvalidField("choice", "there is nothing to choose from", options)
            return f"output: OUTPUT\nOUTPUT: {' | '.join(map(_quoted, options))}"
        case Gbnf(grammar):
            return gbnf_to_lark(grammar, "output", tokenizer.token_id)
        case _:
            assert_never(output)


def tool_rules(prompt: ChatPrompt, tool_format: ToolFormat, tokenizer: Tokenizer) -> str:
    """Lark whose rule `calls` is calls of the tools that may be chosen, as the model's own format writes them."""
    tools = _choosable(prompt)
    shape = tool_format.shape

    def spell(text: str) -> str:
        return _spelled(text, tokenizer)

    rules = [
        f"call{index}: {spell(shape.head + json.dumps(tool.name)[1:-1] + shape.middle)} arguments{index} "
        f"{spell(shape.tail)}\narguments{index}: %json {_json_source({'type': 'object', **tool.parameters})}"
        for index, tool in enumerate(tools)
    ]
    call = " | ".join(f"call{index}" for index in range(len(tools)))
    is_single = shape.between is None or not prompt.parallel_tool_calls or isinstance(prompt.tool_choice, NamedTool)
    more = "" if is_single else f"({spell(shape.between or '')} call){{0,{MAX_CALLS - 1}}}"
    return "\n".join([f"calls: {spell(shape.begin)} call {more} {spell(shape.end)}", f"call: {call}", *rules])


def _choosable(prompt: ChatPrompt) -> tuple[Tool, ...]:
    if not isinstance(prompt.tool_choice, NamedTool):
        return prompt.tools
    name = prompt.tool_choice.name
    chosen = tuple(tool for tool in prompt.tools if tool.name == name)
    if not chosen:
        raise InvalidField("tool_choice", f"there is no tool named '{name}'", name)
    return chosen


def thought_rules(tags: Tags, tokenizer: Tokenizer, *, is_thinking: bool) -> str:
    """Lark whose rule `thought` is the reasoning that may, or (is_thinking) must, come to its end first."""
    closes = _spelled(tags.closes, tokenizer)
    is_token = closes.startswith("<")
    rest = f"rest: /(?s:.*)/ {closes}" if is_token else f"rest[suffix={closes}]: /(?s:.*)/"
    thought = "rest BLANKS?" if is_thinking else f"({_spelled(tags.opens, tokenizer)} rest BLANKS?)?"
    return f"thought: {thought}\n{rest}\nBLANKS: /\\n{{1,2}}/"


def _spelled(text: str, tokenizer: Tokenizer) -> str:
    """Literal text, in which special tokens are named by their ids: their letters alone wouldn't make them."""
    tokens = {tokenizer.token_bytes(token_id).decode(): token_id for token_id in tokenizer.special_ids}
    pieces = re.split("(" + "|".join(map(re.escape, tokens)) + ")", text) if tokens else [text]
    return " ".join(f"<[{tokens[piece]}]>" if piece in tokens else _quoted(piece) for piece in pieces if piece)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _regex_source(pattern: str) -> str:
    """`\\d`, `\\w` and `\\s` mean ASCII, as in the regular expressions of JSON schemas."""
    try:
        return str(regex_to_lark(pattern, "dws"))
    except ValueError as error:
        raise InvalidField("regex", str(error), pattern) from None


def _json_source(schema: dict[str, Any] | bool) -> str:
    if schema is False:
        raise InvalidField("json_schema", "no value satisfies it", schema)
    whole = {} if schema is True else schema
    has_parts = "allOf" in json.dumps(whole)  # closed, the parts of an object would exclude one another
    closed = whole if has_parts else _closed(whole)
    return json.dumps({**closed, "x-guidance": JSON_OPTIONS})


def _closed(schema: Any) -> Any:
    """Objects whose properties are listed have no others unless the schema allows them: so do llama.cpp and vLLM, and
    clients count on it, although JSON Schema's own default is that anything goes."""
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed_part(key, value) for key, value in schema.items()}
    if "properties" in schema and not schema.keys() & OPENING_KEYS:
        closed["additionalProperties"] = False
    return closed


def _closed_part(key: str, value: Any) -> Any:
    if key in VALUE_KEYS:
        return value
    if key in MAP_KEYS and isinstance(value, dict):
        return {name: _closed(schema) for name, schema in value.items()}
    return _closed(value)
