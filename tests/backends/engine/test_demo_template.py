"""The embedded model's chat template writes what the model was trained on."""

from __future__ import annotations

import importlib
import json
import random
from pathlib import Path
from types import ModuleType
from typing import Any

import jinja2
import pytest

from backends.engine.chat_template import ChatTemplate
from backends.engine.demo import FOLDER
from backends.request import ChatPrompt, FunctionCall, Message, Tool
from tests.backends.engine.toy_tokenizers import byte_level

SOURCE = Path(FOLDER / "chat_template.jinja").read_text("utf-8")
TEMPLATE = ChatTemplate(byte_level(settings={"chat_template": SOURCE}))

READ = {"name": "read_file", "description": "Lies eine Datei — schön.", "parameters": {"type": "object"}}
GREP = {"name": "grep", "description": "a<b & 'c'", "parameters": {"type": "object", "properties": {"x": {}}}}


@pytest.fixture
def corpus(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The training scripts import one another as scripts do."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("corpus")


def rendered(messages: list[Message], tools: list[dict[str, Any]] | None = None) -> str:
    offered = tuple(Tool(**tool) for tool in tools or ())
    return TEMPLATE.render(ChatPrompt(tuple(messages), offered, add_generation_prompt=False), None)


@pytest.mark.parametrize("tools", [None, [READ], [READ, GREP]], ids=["no tools", "one tool", "two tools"])
@pytest.mark.parametrize("system", [[], [("system", "You are terse.")]], ids=["no system", "system"])
def test_turns_are_written_as_in_training(corpus: ModuleType, system: list, tools: list[dict[str, Any]] | None) -> None:
    turns = [*system, ("user", "Grüße <b>"), ("assistant", "Hello.\n\n"), ("user", "")]
    messages = [Message(role, content) for role, content in turns]
    assert rendered(messages, tools) == corpus.render_chat(turns, tools).removesuffix(corpus.END)


def test_calls_and_their_results_are_written_as_in_training(corpus: ModuleType) -> None:
    call = json.dumps({"name": "grep", "arguments": {"pattern": "a b", "deep": [1, None, {"x": True}]}})
    turns = [
        ("user", "Search"),
        ("assistant", f"<tool_call>\n{call}\n</tool_call>"),
        ("user", "<tool_response>\nnothing\n</tool_response>"),
        ("assistant", "It says: nothing"),
    ]
    arguments = json.dumps(json.loads(call)["arguments"])
    messages = [
        Message("user", "Search"),
        Message("assistant", tool_calls=(FunctionCall("call_1", "grep", arguments),)),
        Message("tool", "nothing", tool_call_id="call_1"),
        Message("assistant", "It says: nothing"),
    ]
    assert rendered(messages, [GREP]) == corpus.render_chat(turns, [GREP]).removesuffix(corpus.END)


def test_many_training_documents_come_out_the_same(corpus: ModuleType) -> None:
    file = corpus.SourceFile(
        "example.py", f'def f(x):\n    """{"Return twice the argument. " * 2}"""\n    return x * 2\n' * 20
    )
    documents = corpus.Documents([file], random.Random(7))
    for _ in range(50):
        text = documents.tool_use().removesuffix(corpus.END)
        turns = [turn.split("\n", 1) for turn in text.removeprefix(corpus.TURN).split(corpus.TURN)]
        turns = [(role, content.removesuffix(f"{corpus.TURN_END}\n")) for role, content in turns]
        first, listing = turns[0][1].rsplit("Tools:\n", 1)
        tools = [json.loads(line) for line in listing.splitlines()]
        system = [Message("system", first.removesuffix("\n"))] if first else []
        messages = system + [Message(role, content) for role, content in turns[1:]]
        assert rendered(messages, tools) == text


def test_several_calls_and_results_share_a_turn() -> None:
    calls = tuple(FunctionCall(f"call_{name}", name, "{}") for name in "ab")
    messages = [Message("assistant", "Both:", tool_calls=calls), Message("tool", "1"), Message("tool", "2")]
    assert rendered(messages, [GREP]).partition("<|im_end|>\n")[2] == (
        "<|im_start|>assistant\nBoth:\n"
        '<tool_call>\n{"name": "a", "arguments": {}}\n</tool_call>\n'
        '<tool_call>\n{"name": "b", "arguments": {}}\n</tool_call><|im_end|>\n'
        "<|im_start|>user\n<tool_response>\n1\n</tool_response>\n<tool_response>\n2\n</tool_response><|im_end|>\n"
    )


def test_it_ends_where_the_answer_begins() -> None:
    assert TEMPLATE.render(ChatPrompt((Message("user", "Hi"),)), None).endswith("<|im_end|>\n<|im_start|>assistant\n")


@pytest.mark.parametrize("content", [{}, {"content": None}, {"content": ""}, {"content": []}])
def test_other_engines_may_leave_the_content_out(content: dict[str, Any]) -> None:
    """They render the same file, with messages as their clients sent them."""
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)  # noqa: S701  (no HTML)
    template = environment.from_string(SOURCE)
    assert template.render(messages=[{"role": "assistant", **content}]) == "<|im_start|>assistant\n<|im_end|>\n"
    parts = {
        "role": "user",
        "content": [{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}],
    }
    assert template.render(messages=[parts]) == "<|im_start|>user\nab<|im_end|>\n"
