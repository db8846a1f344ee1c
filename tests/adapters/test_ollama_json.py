"""JSON, times, durations and quotes as Go writes them."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.ollama.json import go_json, go_number, go_time, parse_duration, quoted


def test_what_could_end_a_script_is_escaped() -> None:
    assert go_json({"a": "<b>&\u2028\u2029é"}) == b'{"a":"\\u003cb\\u003e\\u0026\\u2028\\u2029\xc3\xa9"}'


@given(
    st.recursive(
        st.text() | st.integers(-(2**53), 2**53) | st.booleans(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_escaped_json_means_the_same(value: object) -> None:
    written = go_json(value)
    assert json.loads(written) == value
    assert not set(b"<>&") & set(written)


@pytest.mark.parametrize(
    ("time_ns", "text"),
    [
        (1_700_000_001_500_000_000, "2023-11-14T22:13:21.5Z"),
        (1_700_000_001_123_456_789, "2023-11-14T22:13:21.123456789Z"),
        (1_700_000_010_000_000_000, "2023-11-14T22:13:30Z"),
    ],
)
def test_times_have_nanoseconds_without_trailing_zeros(time_ns: int, text: str) -> None:
    assert go_time(time_ns) == text


@pytest.mark.parametrize(
    ("value", "written"), [(0.0, 0), (-2.0, -2), (-0.5, -0.5), (-math.inf, -3.4028234663852886e38)]
)
def test_a_float_without_a_fraction_is_written_as_an_integer(value: float, written: float) -> None:
    assert go_number(value) == written
    assert type(go_number(value)) is type(written)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5m", 300), ("1h30m", 5400), ("0", 0), ("-1s", -1), ("+.5s", 0.5), ("1.5h", 5400), ("100ms", 0.1), ("2µs", 2e-6)],
)
def test_durations_in_go_notation(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", 'time: invalid duration ""'),
        ("abc", 'time: invalid duration "abc"'),
        ("-1", 'time: missing unit in duration "-1"'),
        ("1d", 'time: unknown unit "d" in duration "1d"'),
        ("5m x", 'time: unknown unit "m x" in duration "5m x"'),
    ],
)
def test_what_is_no_duration(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match="time: ") as error:
        parse_duration(text)
    assert str(error.value) == complaint


@given(st.integers(0, 10**6), st.sampled_from(["ns", "us", "ms", "s", "m", "h"]))
def test_a_sum_of_parts_is_the_sum_of_their_durations(number: int, unit: str) -> None:
    assert parse_duration(f"1h{number}{unit}") == pytest.approx(3600 + parse_duration(f"{number}{unit}"))


@pytest.mark.parametrize(
    ("text", "quote"),
    [
        ('a"b\\', r'"a\"b\\"'),
        ("\n\x01\x7f", r'"\n\x01\x7f"'),
        ("é😀", '"é😀"'),
        ("\u200b\U000e0001", r'"\u200b\U000e0001"'),
    ],
)
def test_quotes_like_percent_q(text: str, quote: str) -> None:
    assert quoted(text) == quote
