from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from backends.engine.cursor import Cursor, Reading, Unexpected


def read_in_pieces(text: str, size: int) -> tuple[str | None, str]:
    """What the cursor reads as one JSON value (None: it isn't any), and what is left."""
    cursor = Cursor()
    reading: Reading[None] = cursor.read_json()
    for start in range(0, len(text), size):
        cursor.add(text[start : start + size])
        try:
            next(reading)
        except StopIteration:
            return cursor.take(), cursor.text + text[start + size :]
        except Unexpected:
            return None, ""
    return None, ""


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(json_values, st.booleans(), st.sampled_from([None, 1]), st.integers(1, 9))
def test_every_json_value_is_read_to_its_end(value: object, ensure_ascii: bool, indent: int | None, size: int) -> None:
    text = json.dumps(value, ensure_ascii=ensure_ascii, indent=indent)
    assert read_in_pieces(f"{text} }}rest", size) == (text, " }rest")


@given(st.text('{}[],:"\\u0a1-+.eE truefalsn\n', max_size=12), st.integers(1, 4))
@example("[1,]", 1)
@example('{"a" 1}', 1)
@example("01", 1)
def test_what_is_read_is_json(text: str, size: int) -> None:
    read, _ = read_in_pieces(f"{text} ", size)
    if read is not None:
        json.loads(read)


@given(st.text('{}[],:"\\ua1 ', max_size=12))
def test_json_is_never_refused(text: str) -> None:
    try:
        json.loads(text)
    except ValueError:
        return
    read, _ = read_in_pieces(text + " ", 1)
    assert read is None or text.strip().startswith(read)
    assert read is not None or text != text.lstrip()


@pytest.mark.parametrize("text", ["x", "tru ", "-", "1.", '"\n"', '"\\x', '"\\u12g', "[1 2", '{"a",', "nulL ", "{1:"])
def test_what_cannot_become_json_is_refused_at_once(text: str) -> None:
    cursor = Cursor()
    cursor.add(text + " ")
    with pytest.raises(Unexpected):
        next(cursor.read_json())


def test_nesting_has_an_end() -> None:
    cursor = Cursor()
    cursor.add("[" * 10_000)
    with pytest.raises(Unexpected):
        next(cursor.read_json())


def test_a_string_is_passed_on_before_it_ends() -> None:
    cursor = Cursor()
    reading = cursor.read_json()
    cursor.add('["one two\\')
    next(reading)
    assert cursor.take() == '["one two'
    cursor.add("n three")
    next(reading)
    assert cursor.take() == "\\n three"


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_name_has_to_end_somewhere(size: int) -> None:
    """The same whether it comes in pieces or at once."""
    text = "x" * 300 + "|"
    cursor = Cursor()
    reading = cursor.read_until("|")

    def read_all() -> None:
        for start in range(0, len(text), size):
            cursor.add(text[start : start + size])
            next(reading)

    with pytest.raises(Unexpected):
        read_all()
