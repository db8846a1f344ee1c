"""Complaints about bodies that are no JSON, in Go's words."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.ollama.syntax import end_of_value
from backends.errors import MalformedBody

VALUES = st.recursive(
    st.none() | st.booleans() | st.text() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda value: st.lists(value) | st.dictionaries(st.text(), value),
)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"{", "unexpected EOF"),
        (b'{"a": ', "unexpected EOF"),
        (b"nul", "unexpected EOF"),
        (b'"a', "unexpected EOF"),
        (b"-", "unexpected EOF"),
        (b"<html>", "invalid character '<' looking for beginning of value"),
        (b"[1,]", "invalid character ']' looking for beginning of value"),
        (b"\xe2\x82", "invalid character 'â' looking for beginning of value"),
        (b"{'a':1}", r"invalid character '\'' looking for beginning of object key string"),
        (b'{"a":1,}', "invalid character '}' looking for beginning of object key string"),
        (b'{"a" 1}', "invalid character '1' after object key"),
        (b'{"a":1 "b":2}', "invalid character '\"' after object key:value pair"),
        (b"[1 2]", "invalid character '2' after array element"),
        (b'"a\nb"', r"invalid character '\n' in string literal"),
        (b'"a\x01b"', r"invalid character '\x01' in string literal"),
        (rb'"\q"', "invalid character 'q' in string escape code"),
        (rb'"\u12g4"', r"invalid character 'g' in \u hexadecimal character escape"),
        (b"nuX", "invalid character 'X' in literal null (expecting 'l')"),
        (b"[True]", "invalid character 'T' looking for beginning of value"),
        (b"[-x]", "invalid character 'x' in numeric literal"),
        (b"[1.x]", "invalid character 'x' after decimal point in numeric literal"),
        (b"[1e+x]", "invalid character 'x' in exponent of numeric literal"),
        (b"[01]", "invalid character '1' after array element"),
        (b"[" * 10_001, "exceeded max depth"),
    ],
)
def test_what_go_says(body: bytes, complaint: str) -> None:
    with pytest.raises(MalformedBody) as error:
        end_of_value(body)
    assert error.value.message == complaint


@given(VALUES, st.sampled_from([None, 2]), st.binary(max_size=5))
def test_the_end_of_any_value_is_found_whatever_follows(value: object, indent: int | None, rest: bytes) -> None:
    body = json.dumps(value, indent=indent, ensure_ascii=False).encode("utf-8", "surrogatepass")
    assert end_of_value(b" " + body + b" " + rest) == 1 + len(body)


@given(st.dictionaries(st.text(), VALUES, min_size=1), st.data())
def test_a_truncated_object_is_an_unexpected_end(value: object, data: st.DataObject) -> None:
    body = json.dumps(value).encode()
    cut = data.draw(st.integers(1, len(body) - 1))
    with pytest.raises(MalformedBody, match="unexpected EOF"):
        end_of_value(body[:cut])


@given(st.binary(max_size=40))
def test_any_bytes_are_a_value_or_a_complaint(body: bytes) -> None:
    try:
        end = end_of_value(body)
    except MalformedBody:
        return
    json.loads(body[:end].decode("utf-8", "replace"))
