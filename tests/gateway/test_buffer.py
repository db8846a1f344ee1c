"""Which prompt is another one a few keystrokes later, and which is another text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.engine.infill import FAMILIES, Family
from backends.request import ChatPrompt, InfillPrompt, Message, TextPrompt
from gateway.buffer import Buffer, buffer_of, is_typed_on

FILE = "".join(f"def function_{i}(argument):\n    return argument + {i}\n\n" for i in range(40))


def infill(before: str, after: str = "\nprint(total)\n") -> Buffer:
    return Buffer(before, after, is_infill=True)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_sentinels_that_are_written_out_are_understood(family: Family) -> None:
    prefix, suffix, middle = (mark.removeprefix("▁") for mark in (family.prefix, family.suffix, family.middle))
    psm = f"{prefix}before{suffix}after{middle}"
    spm = f"{suffix}after{prefix}before"
    for text in (psm, spm):
        assert buffer_of(TextPrompt((text,))) == Buffer("before", "after", is_infill=True)


def test_a_hole_is_a_buffer_and_a_chat_is_none() -> None:
    assert buffer_of(InfillPrompt("a", "b", start="c")) == Buffer("ac", "b", is_infill=True)
    assert buffer_of(TextPrompt(("plain",))) == Buffer("plain")
    assert buffer_of(ChatPrompt((Message("user", "hi"),))) is None
    assert buffer_of(TextPrompt(((1, 2),))) is None


def test_typing_deleting_and_accepting_go_on_in_the_same_buffer() -> None:
    old = infill(FILE + "total = su")
    for now in ("total = sum", "total = s", "total = sum(values)\naverage = ", "total = so"):
        assert is_typed_on(old, infill(FILE + now))


def test_an_equal_prompt_is_no_newer_one() -> None:
    assert not is_typed_on(infill(FILE), infill(FILE))


def test_another_place_in_the_file_is_another_buffer() -> None:
    assert not is_typed_on(infill(FILE + "total = "), infill(FILE[:200] + "x", FILE[200:]))


def test_a_window_that_slides_over_the_file_is_the_same_buffer() -> None:
    text = FILE + "total = su"
    assert is_typed_on(infill(text[-1000:]), infill((text + "m(values)\n")[-1000:]))


def test_texts_that_only_begin_alike_are_not_typed_on() -> None:
    preamble = "Complete the following function.\n\n"
    assert not is_typed_on(Buffer(preamble + "def add(a, b):"), Buffer(preamble + "def mul(a, b):"))
    assert is_typed_on(Buffer(preamble + "def add"), Buffer(preamble + "def add(a"))


def test_everything_begins_like_an_empty_file() -> None:
    assert not is_typed_on(Buffer(""), Buffer("import os"))
    assert not is_typed_on(infill("", "one"), infill("x", "two"))
    assert is_typed_on(infill("", "one"), infill("x", "one"))


@given(st.text(min_size=8, max_size=300), st.text(min_size=1, max_size=30), st.text(max_size=50))
def test_whatever_is_typed_it_is_seen(before: str, typed: str, after: str) -> None:
    assert is_typed_on(infill(before, after), infill(before + typed, after))
    assert is_typed_on(infill(before + typed, after), infill(before, after))
