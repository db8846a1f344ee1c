from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.engine.reasoning import ReasoningParser, Tags

THINK = Tags("<think>", "</think>")


def split(text: str, size: int = 1, *, is_thinking: bool = False) -> tuple[str, str]:
    """The reasoning, and the rest."""
    parser = ReasoningParser(THINK, is_thinking=is_thinking)
    pieces = [piece for start in range(0, len(text), size) for piece in parser.feed(text[start : start + size])]
    pieces += parser.finish()
    assert all(piece for _, piece in pieces)
    return "".join(piece for is_, piece in pieces if is_), "".join(piece for is_, piece in pieces if not is_)


@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_reasoning_and_answer_come_apart(size: int) -> None:
    assert split("<think>\nHm, a < b.\n\nSo:\n</think>\n\nYes. ", size) == ("Hm, a < b.\n\nSo:", "Yes. ")


@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_the_prompt_may_have_opened_the_reasoning(size: int) -> None:
    assert split("\nHm.\n</think>\n\nYes", size, is_thinking=True) == ("Hm.", "Yes")


def test_an_answer_without_reasoning_is_untouched() -> None:
    assert split("\n <b> and <think> later </think> ") == ("", "\n <b> and <think> later </think> ")
    assert split("  ") == ("", "  ")
    assert split("<thi") == ("", "<thi")


def test_reasoning_that_is_cut_off_is_reasoning() -> None:
    assert split("<think>Hm, </thi") == ("Hm, </thi", "")
    assert split("Hm, ", is_thinking=True) == ("Hm, ", "")


def test_reasoning_streams_as_it_comes() -> None:
    parser = ReasoningParser(THINK, is_thinking=True)
    assert list(parser.feed("One")) == [(True, "One")]
    assert list(parser.feed(" two \n")) == [(True, " two")]
    assert list(parser.feed("three<")) == [(True, " \nthree")]
    assert list(parser.feed("/think>")) == []
    assert not parser.is_thinking


@given(
    st.lists(st.sampled_from(["<think>", "</think>", "<", "think", ">", "/", " ", "\n", "a"])).map("".join),
    st.integers(1, 9),
    st.booleans(),
)
def test_nothing_disappears_but_tags_and_the_blanks_beside_them(text: str, size: int, is_thinking: bool) -> None:
    reasoning, answer = split(text, size, is_thinking=is_thinking)
    assert (reasoning, answer) == split(text, 1, is_thinking=is_thinking)
    if is_thinking or text.lstrip().startswith("<think>"):
        thought, _, rest = text.lstrip().removeprefix("" if is_thinking else "<think>").partition("</think>")
        assert (reasoning.strip(), answer) == (thought.strip(), rest.lstrip())
    else:
        assert (reasoning, answer) == ("", text)


@pytest.mark.parametrize(
    ("prompt_text", "final_text", "is_open"),
    [
        ("<|im_start|>assistant\n", "", False),
        ("<|im_start|>assistant\n<think>\n", "", True),
        ("<|im_start|>assistant\n<think>\n\n</think>\n\n", "", False),
        ("<|im_start|>user\n<think> about it<|im_end|>\n<|im_start|>assistant\n", "", False),
        ("assistant\n<think>So far", "<think>So far", True),
        ("assistant\n<think>So</think>Yes", "<think>So</think>Yes", False),
    ],
)
def test_the_prompt_tells_whether_the_model_is_thinking(prompt_text: str, final_text: str, is_open: bool) -> None:
    assert THINK.are_open(prompt_text, final_text) is is_open
