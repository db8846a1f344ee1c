from __future__ import annotations

import pytest

from backends.engine.detokenizer import Detokenizer, Piece
from backends.engine.parsers import OutputEvent, OutputParser, OutputSyntax, PlainParser
from backends.engine.tokenizer import Tokenizer
from backends.events import Reasoning, Text, TokenLogprob, ToolCallArguments, ToolCallStarted
from backends.request import ChatPrompt, Message, Tool, ToolChoice
from tests.backends.engine.toy_tokenizers import byte_level

CALL = '<tool_call>\n{"name": "f", "arguments": {"x": 1}}\n</tool_call>'
TOKENS = ["<|im_end|>", "<think>", "</think>", "<tool_call>", "</tool_call>"]


def tokenizer(template: str, special: list[str] | None = None) -> Tokenizer:
    return byte_level(special=TOKENS if special is None else special, settings={"chat_template": template})


QWEN3 = tokenizer("{{ tools }}<tool_call></think>")


def chat(*, choice: ToolChoice = "auto", tools: tuple[str, ...] = ("f",), final: str | None = None) -> ChatPrompt:
    messages = (Message("user", "Hi"), *([] if final is None else [Message("assistant", final)]))
    offered = tuple(Tool(name) for name in tools)
    return ChatPrompt(messages, offered, choice, continue_final=final is not None)


def answer(parser: OutputParser, ids: list[int], skip_ids: frozenset[int] = frozenset()) -> list[OutputEvent]:
    detokenizer = Detokenizer(QWEN3, skip_ids=skip_ids)
    events = [event for token_id in ids for event in parser.feed(detokenizer.push(token_id))]
    return [*events, *parser.feed(detokenizer.flush()), *parser.finish()]


def encode(text: str) -> list[int]:
    return QWEN3.encode(text, add_special=False)


def summary(events: list[OutputEvent]) -> dict[str, str]:
    joined = {"reasoning": "", "text": "", "calls": ""}
    for event in events:
        match event:
            case Reasoning():
                joined["reasoning"] += event.text
            case Text():
                joined["text"] += event.text
            case ToolCallStarted():
                joined["calls"] += f"|{event.call} {event.name} "
            case ToolCallArguments():
                joined["calls"] += event.text
    return joined


def test_reasoning_text_and_calls_come_in_one_answer() -> None:
    syntax = OutputSyntax.detect(QWEN3)
    parser = syntax.parser(3, chat(), "assistant\n")
    skip_ids = QWEN3.special_ids - syntax.marker_ids
    ids = encode(f"<think>\nHm.\n</think>\n\nLook:\n{CALL}\n{CALL}<|im_end|>")
    events = answer(parser, ids, skip_ids)
    assert summary(events) == {"reasoning": "Hm.", "text": "Look:\n", "calls": '|0 f {"x": 1}|1 f {"x": 1}'}
    assert {event.index for event in events} == {3}
    assert parser.num_calls == 2
    assert parser.num_reasoning_tokens == len(encode("\nHm.\n</think>"))


def test_calls_have_ids_of_their_own() -> None:
    events = answer(OutputSyntax.detect(QWEN3).parser(0, chat(), ""), encode(CALL * 2))
    ids = [event.id for event in events if isinstance(event, ToolCallStarted)]
    assert len(set(ids)) == 2


def test_without_tools_a_call_is_text() -> None:
    syntax = OutputSyntax.detect(QWEN3)
    for prompt in (chat(tools=()), chat(choice="none")):
        assert summary(answer(syntax.parser(0, prompt, ""), encode(CALL)))["text"] == CALL


def test_a_tool_that_was_not_offered_is_text() -> None:
    parser = OutputSyntax.detect(QWEN3).parser(0, chat(tools=("g",)), "")
    assert summary(answer(parser, encode(CALL))) == {"reasoning": "", "text": CALL, "calls": ""}


def test_the_prompt_may_have_begun_the_reasoning() -> None:
    syntax = OutputSyntax.detect(QWEN3)
    ids = encode("So.</think>Yes")
    expected = {"reasoning": "So.", "text": "Yes", "calls": ""}
    assert summary(answer(syntax.parser(0, chat(), "assistant\n<think>\n"), ids)) == expected
    assert summary(answer(syntax.parser(0, chat(final="<think>First"), "assistant\n<think>First"), ids)) == expected


def test_a_template_that_forbids_thinking_leaves_plain_text() -> None:
    parser = OutputSyntax.detect(QWEN3).parser(0, chat(), "assistant\n<think>\n\n</think>\n\n")
    assert summary(answer(parser, encode("Yes"))) == {"reasoning": "", "text": "Yes", "calls": ""}


def test_every_token_of_an_answer_is_told_once_and_in_order() -> None:
    ids = encode("<think>Hé 🎉</think>\n\nYes <tool")
    events = answer(OutputSyntax.detect(QWEN3).parser(0, chat(), ""), ids)
    told = [token_id for event in events if isinstance(event, Text | Reasoning) for token_id in event.token_ids]
    assert told == ids


def test_the_tokens_of_a_call_are_told_nowhere() -> None:
    before, after = encode("Look "), encode("done")
    events = answer(OutputSyntax.detect(QWEN3).parser(0, chat(), ""), [*before, *encode(CALL), *after])
    told = [token_id for event in events if isinstance(event, Text) for token_id in event.token_ids]
    assert told == [*before, *after]


def test_log_probabilities_go_with_their_text() -> None:
    parser = OutputSyntax.detect(QWEN3).parser(0, chat(), "")
    logprobs = [TokenLogprob(token_id, "", b"", -1.0) for token_id in (5, 6)]
    assert parser.feed(Piece("<", (5,)), logprobs[:1]) == []
    assert parser.feed(Piece("b", (6,)), logprobs[1:]) == [Text(0, "<b", (5, 6), tuple(logprobs))]


def test_tokens_without_text_are_told_at_the_end() -> None:
    parser = OutputSyntax.detect(QWEN3).parser(0, chat(), "")
    assert parser.feed(Piece("", (7,))) == []
    assert parser.finish() == [Text(0, "", (7,))]


def test_plain_text_passes_through() -> None:
    parser = PlainParser(1)
    assert parser.feed(Piece("", ())) == []
    assert parser.feed(Piece("<think>", (4,))) == [Text(1, "<think>", (4,))]
    assert parser.finish() == []


@pytest.mark.parametrize(
    ("template", "special", "tags", "tool_format", "markers"),
    [
        ("<tool_call></think>", TOKENS, "<think>", "hermes", TOKENS[1:]),
        ("plain", TOKENS, None, "json", []),
        ("plain", [], None, "json", []),
        ("[TOOL_CALLS][/THINK]", [*TOKENS, "[TOOL_CALLS]"], "[THINK]", "mistral", ["[TOOL_CALLS]"]),
    ],
)
def test_the_syntax_is_found_in_template_and_vocabulary(
    template: str, special: list[str], tags: str | None, tool_format: str, markers: list[str]
) -> None:
    model = tokenizer(template, special)
    syntax = OutputSyntax.detect(model)
    assert (syntax.tags and syntax.tags.opens, syntax.tool_format.name) == (tags, tool_format)
    assert syntax.marker_ids == {model.token_id(marker) for marker in markers}


def test_a_model_that_neither_thinks_nor_calls_has_the_cheap_parser() -> None:
    assert isinstance(OutputSyntax.detect(tokenizer("plain", [])).parser(0, chat(tools=()), ""), PlainParser)
