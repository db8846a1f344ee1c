from __future__ import annotations

import json
import random
import re

import numpy as np
import pytest

from backends.engine.detokenizer import Detokenizer
from backends.engine.grammar import Grammar, GrammarCompiler
from backends.engine.parsers import OutputSyntax
from backends.engine.tokenizer import Tokenizer
from backends.engine.tool_formats import DEEPSEEK_V3, DEEPSEEK_V31
from backends.errors import BackendFailed, InvalidField, Unsupported
from backends.events import Text, ToolCallArguments, ToolCallStarted
from backends.request import (
    AnyJson,
    ChatPrompt,
    Choice,
    Gbnf,
    JsonSchema,
    Message,
    NamedTool,
    OutputFormat,
    Regex,
    Tool,
    ToolChoice,
)
from tests.backends.engine.toy_tokenizers import byte_level, sentencepiece

SPECIAL = ["<|im_end|>", "<tool_call>", "</tool_call>", "<think>", "</think>"]
PLAIN = byte_level(special=["<|im_end|>"])
NUM_LOGITS = PLAIN.vocab_size + 50  # models often have more logits than tokens


def compiler(tokenizer: Tokenizer = PLAIN) -> GrammarCompiler:
    return GrammarCompiler(tokenizer, OutputSyntax.detect(tokenizer), tokenizer.vocab_size + 50)


def write_at_random(grammar: Grammar, tokenizer: Tokenizer, seed: int, max_tokens: int = 3000) -> list[int]:
    """What a model of infinite temperature writes: any token that the mask allows, until it may end."""
    dice = random.Random(seed)
    ids: list[int] = []
    while not grammar.is_finished and len(ids) < max_tokens:
        (allowed,) = np.nonzero(grammar.mask())
        chosen = dice.choice(allowed.tolist())
        if chosen in tokenizer.eos_token_ids:
            return ids
        grammar.accept(chosen)
        ids.append(chosen)
    assert grammar.is_finished, "it didn't come to an end"
    return ids


def feed(grammar: Grammar, text: str, tokenizer: Tokenizer = PLAIN) -> bool:
    """Does the mask allow each token of the text, and an end after it?"""
    for token_id in tokenizer.encode(text, add_special=False):
        if not grammar.mask()[token_id]:
            return False
        grammar.accept(token_id)
    return bool(grammar.mask()[sorted(tokenizer.eos_token_ids)].any())


SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 20},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 3},
        "inner": {"type": "object", "properties": {"x": {"type": "boolean"}}, "required": ["x"]},
    },
    "required": ["name", "age", "inner"],
}


@pytest.mark.parametrize("seed", range(8))
async def test_json_follows_its_schema_at_any_temperature(seed: int) -> None:
    grammar = await compiler().compile(JsonSchema(SCHEMA))
    value = json.loads(PLAIN.decode(write_at_random(grammar, PLAIN, seed)))
    assert isinstance(value["name"], str)
    assert len(value["name"]) <= 20
    assert 0 <= value["age"] <= 150
    assert set(value.get("tags", [])) <= {"a", "b"}
    assert set(value["inner"]) == {"x"}
    assert set(value) <= {"name", "age", "tags", "inner"}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("output", "pattern"),
    [
        (Regex(r"\d{3}-[a-f]+/x?"), r"[0-9]{3}-[a-f]+/x?"),
        (Choice(("yes", "no", 'may "be"\n')), 'yes|no|may "be"\n'),
        (Gbnf('root ::= ("- " [a-z]{1,9} "\\n"){2,3}'), "(- [a-z]{1,9}\n){2,3}"),
        (Gbnf('root ::= "(" root ")" | [xy]'), r"(\(*)[xy]\)*"),
    ],
)
async def test_text_follows_its_grammar_at_any_temperature(output: OutputFormat, pattern: str, seed: int) -> None:
    grammar = await compiler().compile(output)
    assert re.fullmatch(pattern, PLAIN.decode(write_at_random(grammar, PLAIN, seed)))


@pytest.mark.parametrize(
    ("output", "text", "is_allowed"),
    [
        (AnyJson(), '{"a": [1, null], "b": {}}', True),
        (AnyJson(), "[1]", False),
        (JsonSchema(True), "[1]", True),
        (JsonSchema({"type": "array"}), "[1, 2]", True),
        (JsonSchema({"const": {"a": 1}}), '{"a":1}', True),
        (JsonSchema({"$ref": "#/$defs/x", "$defs": {"x": {"type": "integer"}}}), "12", True),
        (JsonSchema({"properties": {"properties": {"type": "integer"}}}), '{"properties": 1}', True),
        (Regex("^a.c$"), "abc", True),
        (Regex("a.c"), "abcd", False),
    ],
)
async def test_what_a_format_allows(output: OutputFormat, text: str, is_allowed: bool) -> None:
    assert feed(await compiler().compile(output), text) is is_allowed


@pytest.mark.parametrize(
    ("text", "is_allowed"),
    [
        ('{"x":1}', True),
        ('{ "x": 1 }', True),
        ('{\n  "x": 1\n}', True),
        ('{  "x":1}', False),
        ('{\n\n\n"x":1}', False),
        (' {"x":1}', False),
        ('{"x":1,"y":2}', False),
    ],
)
async def test_blanks_are_free_but_few_and_properties_those_of_the_schema(text: str, is_allowed: bool) -> None:
    schema = {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}
    assert feed(await compiler().compile(JsonSchema(schema)), text) is is_allowed


async def test_more_properties_where_the_schema_says_so() -> None:
    for more in ({"additionalProperties": True}, {"allOf": [{"properties": {"y": {"type": "integer"}}}]}):
        schema = {"type": "object", "properties": {"x": {"type": "integer"}}, **more}
        assert feed(await compiler().compile(JsonSchema(schema)), '{"x":1,"y":2}')


@pytest.mark.parametrize(
    ("output", "param", "complaint"),
    [
        (JsonSchema({"type": "wrong"}), "json_schema", "wrong"),
        (JsonSchema({"$ref": "#/nowhere"}), "json_schema", "nowhere"),
        (JsonSchema({"not": {"type": "string"}}), "json_schema", "not"),
        (JsonSchema(False), "json_schema", "no value"),
        (Regex("(?=x)y"), "regex", "look-around"),
        (Regex("("), "regex", "regex"),
        (Choice(()), "choice", "nothing to choose"),
        (Gbnf('root ::= "a'), "grammar", "line 1"),
    ],
)
async def test_a_wrong_format_is_refused_by_name(output: OutputFormat, param: str, complaint: str) -> None:
    with pytest.raises(InvalidField, match=complaint) as refused:
        await compiler().compile(output)
    assert refused.value.param == param


async def test_a_mask_is_as_wide_as_the_logits() -> None:
    grammar = await compiler().compile(Choice(("a",)))
    mask = grammar.mask()
    assert (mask.dtype, mask.shape) == (np.dtype(bool), (NUM_LOGITS,))
    assert not mask[PLAIN.vocab_size :].any()
    assert np.nonzero(mask)[0].tolist() == PLAIN.encode("a", add_special=False)


async def test_when_it_is_finished_only_the_end_is_left() -> None:
    grammar = await compiler().compile(Choice(("a",)))
    assert not grammar.is_finished
    grammar.accept(PLAIN.encode("a", add_special=False)[0])
    assert grammar.is_finished
    assert set(np.nonzero(grammar.mask())[0].tolist()) == PLAIN.eos_token_ids


async def test_a_token_that_the_mask_forbids_is_an_error() -> None:
    grammar = await compiler().compile(Choice(("a",)))
    with pytest.raises(BackendFailed, match="against the grammar"):
        grammar.accept(PLAIN.encode("b", add_special=False)[0])


async def test_copies_go_their_own_ways() -> None:
    first = await compiler().compile(Choice(("ab", "cd")))
    second = first.copy()
    assert feed(first, "ab")
    assert feed(second, "cd")


async def test_a_vocabulary_without_an_end_has_no_grammars() -> None:
    with pytest.raises(Unsupported, match="no token that ends"):
        await compiler(byte_level()).compile(Choice(("ab",)))


async def test_sentencepiece_vocabularies_are_served() -> None:
    tokenizer = sentencepiece()
    grammar = await compiler(tokenizer).compile(JsonSchema(SCHEMA))
    json.loads(tokenizer.decode(write_at_random(grammar, tokenizer, 3)))


TOOLS = (
    Tool("get_weather", "", {"type": "object", "properties": {"city": {"type": "string", "maxLength": 9}}}),
    Tool("stop", "", {}),
)
TEMPLATES = {
    "hermes": "<tool_call>",
    "llama3": "<|python_tag|>",
    "granite": "<|tool_call|>",
    "mistral": "[TOOL_CALLS]",
    "mistral-v11": "[TOOL_CALLS][ARGS]",
    "deepseek-v3": DEEPSEEK_V3.shape.begin + "```json",
    "deepseek-v3.1": DEEPSEEK_V31.shape.begin,
    "json": "{{ tools }}",
}


def chat(choice: ToolChoice, *, parallel: bool = True) -> ChatPrompt:
    return ChatPrompt((Message("user", "Hi"),), TOOLS, choice, parallel)


def read(tokenizer: Tokenizer, prompt: ChatPrompt, ids: list[int]) -> tuple[list[tuple[str, str]], str]:
    """The calls in an answer, and its text."""
    syntax = OutputSyntax.detect(tokenizer)
    detokenizer = Detokenizer(tokenizer, skip_ids=tokenizer.special_ids - syntax.marker_ids)
    parser = syntax.parser(0, prompt, "")
    events = [event for token_id in ids for event in parser.feed(detokenizer.push(token_id))]
    calls: list[tuple[str, str]] = []
    for event in [*events, *parser.feed(detokenizer.flush()), *parser.finish()]:
        if isinstance(event, ToolCallStarted):
            calls.append((event.name, ""))
        elif isinstance(event, ToolCallArguments):
            calls[-1] = (calls[-1][0], calls[-1][1] + event.text)
    return calls, "".join(event.text for event in events if isinstance(event, Text))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("has_tokens", [True, False], ids=["markers are tokens", "markers are text"])
@pytest.mark.parametrize("name", TEMPLATES)
async def test_a_required_call_is_made_in_the_models_own_format(name: str, has_tokens: bool, seed: int) -> None:
    markers = OutputSyntax.detect(byte_level(settings={"chat_template": TEMPLATES[name]})).tool_format.markers
    special = ["<|im_end|>", *(markers if has_tokens else ())]
    tokenizer = byte_level(special, settings={"chat_template": TEMPLATES[name]})
    assert OutputSyntax.detect(tokenizer).tool_format.name == name
    for prompt in (chat("required"), chat(NamedTool("get_weather"))):
        grammar = await compiler(tokenizer).compile_chat(prompt, None, "")
        assert grammar is not None
        calls, text = read(tokenizer, prompt, write_at_random(grammar, tokenizer, seed, max_tokens=20_000))
        assert text == ""
        assert calls
        assert {called for called, _ in calls} <= {"get_weather", "stop"}
        assert all(isinstance(json.loads(arguments), dict) for _, arguments in calls)
        if isinstance(prompt.tool_choice, NamedTool):
            assert [called for called, _ in calls] == ["get_weather"]


async def test_calls_do_not_go_on_for_ever() -> None:
    tokenizer = byte_level(SPECIAL, settings={"chat_template": "<tool_call>"})
    prompt = ChatPrompt((Message("user", "Hi"),), TOOLS[1:], "required")
    for seed in range(5):
        grammar = await compiler(tokenizer).compile_chat(prompt, None, "")
        assert grammar is not None
        calls, _ = read(tokenizer, prompt, write_at_random(grammar, tokenizer, seed, max_tokens=20_000))
        assert 1 <= len(calls) <= 16


async def test_only_one_call_where_calls_may_not_be_parallel() -> None:
    tokenizer = byte_level(SPECIAL, settings={"chat_template": "<tool_call>"})
    grammar = await compiler(tokenizer).compile_chat(chat("required", parallel=False), None, "")
    assert grammar is not None
    assert feed(grammar, '<tool_call>\n{"name": "stop", "arguments": {}}\n</tool_call>', tokenizer)
    assert grammar.is_finished


@pytest.mark.parametrize(
    ("choice", "output", "text", "is_allowed"),
    [
        ("auto", Choice(("yes",)), "yes", True),
        ("auto", Choice(("yes",)), '<tool_call>\n{"name": "stop", "arguments": {}}\n</tool_call>', True),
        ("none", Choice(("yes",)), '<tool_call>\n{"name": "stop", "arguments": {}}\n</tool_call>', False),
        ("required", Choice(("yes",)), "yes", False),
    ],
)
async def test_an_output_format_leaves_room_for_calls(
    choice: ToolChoice, output: OutputFormat, text: str, is_allowed: bool
) -> None:
    tokenizer = byte_level(SPECIAL, settings={"chat_template": "<tool_call>"})
    grammar = await compiler(tokenizer).compile_chat(chat(choice), output, "")
    assert grammar is not None
    assert feed(grammar, text, tokenizer) is is_allowed


@pytest.mark.parametrize(
    ("prompt_text", "text", "is_allowed"),
    [
        ("", "<think>\nyes? no!</think>\n\nyes", True),
        ("", "yes", True),
        ("", "<think>\nyes", False),
        ("assistant\n<think>\n", "Hm.\n</think>\n\nyes", True),
        ("assistant\n<think>\n", "</think>yes", True),
        ("assistant\n<think>\n", "yes", False),
        ("assistant\n<think>\n\n</think>\n\n", "yes", True),
    ],
)
@pytest.mark.parametrize("special", [SPECIAL, SPECIAL[:1]], ids=["tags are tokens", "tags are text"])
async def test_the_grammar_begins_after_the_reasoning(
    special: list[str], prompt_text: str, text: str, is_allowed: bool
) -> None:
    tokenizer = byte_level(special, settings={"chat_template": "<think></think>"})
    grammar = await compiler(tokenizer).compile_chat(chat("none"), Choice(("yes",)), prompt_text)
    assert grammar is not None
    assert feed(grammar, text, tokenizer) is is_allowed


async def test_a_chat_that_demands_nothing_has_no_grammar() -> None:
    assert await compiler().compile_chat(chat("auto"), None, "") is None


@pytest.mark.parametrize(
    ("prompt", "param"),
    [
        (ChatPrompt((), (), "required"), "tool_choice"),
        (ChatPrompt((), TOOLS, NamedTool("nobody")), "tool_choice"),
        (ChatPrompt((), (Tool("f", "", {"$ref": "#/nowhere"}),), "required"), "tools"),
    ],
)
async def test_a_choice_of_tools_that_cannot_be_made_is_refused(prompt: ChatPrompt, param: str) -> None:
    with pytest.raises(InvalidField) as refused:
        await compiler().compile_chat(prompt, None, "")
    assert refused.value.param == param
