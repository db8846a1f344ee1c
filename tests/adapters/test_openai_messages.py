"""Messages and tools in every form that clients send."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.openai.messages import WireMessage, to_messages
from backends.errors import InvalidField
from backends.request import FunctionCall, Image, Message


def read(**fields: Any) -> Message:
    (message,) = to_messages([WireMessage.model_validate(fields)])
    return message


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("hi", "hi"),
        ([], ""),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "a\nb"),
        ([{"type": "input_text", "text": "a"}], "a"),
        ([{"type": "refusal", "refusal": "no"}], "no"),
        (None, ""),
    ],
)
def test_content(content: object, text: str) -> None:
    assert read(role="assistant", content=content).content == text


def test_missing_content() -> None:
    assert read(role="assistant").content == ""


@pytest.mark.parametrize(
    ("role", "read_as"),
    [("system", "system"), ("developer", "system"), ("user", "user"), ("tool", "tool"), ("function", "tool")],
)
def test_roles(role: str, read_as: str) -> None:
    assert read(role=role, content="x").role == read_as


def test_calls() -> None:
    message = read(
        role="assistant",
        content=None,
        tool_calls=[
            {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}},
            {"id": "c2", "function": {"name": "g", "arguments": {"y": 2}}},
        ],
    )
    assert message.tool_calls == (FunctionCall("c1", "f", '{"x": 1}'), FunctionCall("c2", "g", '{"y":2}'))


def test_a_call_from_before_tools() -> None:
    message = read(role="assistant", content=None, function_call={"name": "f", "arguments": "{}"})
    assert message.tool_calls == (FunctionCall("", "f", "{}"),)
    assert read(role="function", name="f", content="3") == Message("tool", "3", name="f")


def test_a_tools_answer_names_its_call() -> None:
    assert read(role="tool", tool_call_id="c1", content="3") == Message("tool", "3", tool_call_id="c1")


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_earlier_thought(field: str) -> None:
    assert read(role="assistant", content="x", **{field: "hm"}).reasoning == "hm"


@pytest.mark.parametrize("form", [{"url": "data:image/png;base64,AAEC"}, "data:image/png;base64,AAEC"])
def test_inline_images(form: object) -> None:
    message = read(role="user", content=[{"type": "text", "text": "x"}, {"type": "image_url", "image_url": form}])
    assert (message.content, message.images) == ("x", (Image("image/png", b"\0\1\2"),))


def test_image_elsewhere() -> None:
    content = [{"type": "image_url", "image_url": {"url": "https://host/cat.png"}}]
    assert read(role="user", content=content).images == (Image(url="https://host/cat.png"),)


@pytest.mark.parametrize("url", ["data:image/png;base64,###", ""])
def test_a_broken_image_is_named(url: str) -> None:
    with pytest.raises(InvalidField) as caught:
        read(role="user", content=[{"type": "image_url", "image_url": {"url": url}}])
    assert caught.value.param == "messages.0.content.0.image_url"


@given(st.text())
def test_text_is_never_changed(text: str) -> None:
    assert read(role="user", content=text).content == text
    assert read(role="user", content=[{"type": "text", "text": text}]).content == text
