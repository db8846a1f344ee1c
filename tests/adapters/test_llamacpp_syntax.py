"""What is said of a body that isn't JSON: the recorded words, and nlohmann::json's for the faults that weren't."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.llamacpp.syntax import syntax_error
from tests.adapters.llamacpp_tools import GOLDEN, recorded

PLACE = "[json.exception.parse_error.101] parse error at line "


@pytest.mark.parametrize(
    "case",
    [
        "cmpl_bad_json",
        "cmpl_empty_body",
        "cmpl_trailing_comma",
        "cmpl_nan_literal",
        "tok_bad_json",
        "content_type_form",
        "invalid_utf8_body",
    ],
)
def test_recorded_words(case: str) -> None:
    _, _, body = (GOLDEN / f"{case}.req").read_bytes().partition(b"\r\n\r\n")
    assert syntax_error(body) == orjson.loads(recorded(case).body)["error"]["message"]


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b'{"a":1', "1, column 7: syntax error while parsing object - unexpected end of input; expected '}'"),
        (b"[1,2", "1, column 5: syntax error while parsing array - unexpected end of input; expected ']'"),
        (b'{"a" 1}', "1, column 6: syntax error while parsing object separator - unexpected number literal; "
                     "expected ':'"),
        (b"{a:1}", "1, column 2: syntax error while parsing object key - invalid literal; last read: '{a'; "
                   "expected string literal"),
        (b'{"a":01}', "1, column 7: syntax error while parsing object - unexpected number literal; expected '}'"),
        (b'\n\n{"a":}', "3, column 6: syntax error while parsing value - unexpected '}'; expected '[', '{', "
                        "or a literal"),
        (b"1 2", "1, column 3: syntax error while parsing value - unexpected number literal; expected end of input"),
        (b"[[],{},]", "1, column 8: syntax error while parsing value - unexpected ']'; expected '[', '{', "
                      "or a literal"),
        (b'{"a":tru}', "1, column 9: syntax error while parsing value - invalid literal; last read: '\"a\":tru}'"),
        (b"[-x]", "1, column 3: syntax error while parsing value - invalid number; expected digit after '-'; "
                  "last read: '-x'"),
        (b"[1.x]", "1, column 4: syntax error while parsing value - invalid number; expected digit after '.'; "
                   "last read: '1.x'"),
        (b"[1ex]", "1, column 4: syntax error while parsing value - invalid number; expected '+', '-', or digit after "
                   "exponent; last read: '1ex'"),
        (b"[1e+x]", "1, column 5: syntax error while parsing value - invalid number; expected digit after exponent "
                    "sign; last read: '1e+x'"),
        (b'["x', "1, column 4: syntax error while parsing value - invalid string: missing closing quote; "
                 "last read: '\"x'"),
        (b'["a\tb"]', "1, column 4: syntax error while parsing value - invalid string: control character U+0009 (HT) "
                      "must be escaped to \\u0009 or \\t; last read: '\"a<U+0009>'"),
        (b'["\\q"]', "1, column 4: syntax error while parsing value - invalid string: forbidden character after "
                     "backslash; last read: '\"\\q'"),
        (b'["\\u12g4"]', "1, column 7: syntax error while parsing value - invalid string: '\\u' must be followed by 4 "
                         "hex digits; last read: '\"\\u12g'"),
        (b'["\\ud800"]', "1, column 9: syntax error while parsing value - invalid string: surrogate U+D800..U+DBFF "
                         "must be followed by U+DC00..U+DFFF; last read: '\"\\ud800\"'"),
        ("[é]".encode(), "1, column 3: syntax error while parsing value - invalid literal; last read: '[é'"),
    ],
)  # fmt: skip
def test_where_what_and_what_instead(body: bytes, fault: str) -> None:
    assert syntax_error(body) == PLACE + fault


def test_a_long_text_is_not_walked() -> None:
    assert syntax_error(b"[" * 70_000).endswith("invalid literal")


PIECES = ["{", "}", "[", "]", ":", ",", '"', '"a"', "1", "-", ".", "e", "true", "nul", "\\", " ", "\n", "é"]


@given(st.lists(st.sampled_from(PIECES), max_size=12))
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_text_that_is_not_json_has_a_fault(pieces: list[str]) -> None:
    body = "".join(pieces).encode()
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        said = syntax_error(body)
        is_told = said.startswith(PLACE) and "unexpected end of input; expected end of input" not in said
    else:
        is_told = True
    assert is_told
