from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.engine.detokenizer import Detokenizer, Piece
from tests.backends.engine.toy_tokenizers import byte_level, sentencepiece

TOKENIZER = byte_level(special=["<|im_end|>", "<tool_call>"])
END = TOKENIZER.token_id("<|im_end|>")
CALL = TOKENIZER.token_id("<tool_call>")
assert END is not None
assert CALL is not None


def encode(text: str) -> list[int]:
    return TOKENIZER.encode(text, add_special=False)


def run(detokenizer: Detokenizer, ids: list[int]) -> list[Piece]:
    """Every piece, up to the stop string."""
    pieces = []
    for token_id in ids:
        pieces.append(detokenizer.push(token_id))
        if detokenizer.stop_text is not None:
            return pieces
    return [*pieces, detokenizer.flush()]


def joined(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


def naive(text: str, stops: tuple[str, ...], include_stop: bool) -> tuple[str, str | None]:
    """The answer that someone gives who sees all of the text: the first stop string to be complete cuts it."""
    for end in range(1, len(text) + 1):
        done = [stop for stop in stops if text[:end].endswith(stop)]
        if done:
            stop = max(done, key=len)
            return text[: end if include_stop else end - len(stop)], stop
    return text, None


letters = st.lists(st.sampled_from([*encode("abé\n🎉"), CALL, END]), max_size=30)
stop_strings = st.lists(st.text("abé\n🎉�", min_size=1, max_size=5), max_size=4).map(tuple)


@given(letters, stop_strings, st.booleans())
def test_the_pieces_are_the_whole_text_up_to_the_first_stop(
    ids: list[int], stops: tuple[str, ...], include_stop: bool
) -> None:
    detokenizer = Detokenizer(TOKENIZER, stops=stops, include_stop=include_stop, skip_ids=frozenset({END}))
    text = b"".join(TOKENIZER.token_bytes(token_id) for token_id in ids if token_id != END).decode("utf-8", "replace")
    assert (joined(run(detokenizer, ids)), detokenizer.stop_text) == naive(text, stops, include_stop)


@given(st.text("ab", max_size=20), stop_strings)
def test_only_what_may_begin_a_stop_string_is_held_back(text: str, stops: tuple[str, ...]) -> None:
    detokenizer = Detokenizer(TOKENIZER, stops=stops)
    sent = ""
    for end, token_id in enumerate(encode(text), 1):
        sent += detokenizer.push(token_id).text
        if detokenizer.stop_text is not None:
            return
        beginnings = (stop[:length] for stop in stops for length in range(len(stop)))
        longest = max((len(start) for start in beginnings if text[:end].endswith(start)), default=0)
        assert sent == text[: end - longest]


@given(letters, stop_strings)
def test_tokens_come_once_in_order_and_none_is_lost_without_a_stop(ids: list[int], stops: tuple[str, ...]) -> None:
    detokenizer = Detokenizer(TOKENIZER, stops=stops)
    covered = [token_id for piece in run(detokenizer, ids) for token_id in piece.token_ids]
    if detokenizer.stop_text is None:
        assert covered == ids
    else:
        assert covered == ids[: len(covered)]


def test_a_code_point_is_never_split() -> None:
    pieces = run(Detokenizer(TOKENIZER), encode("é🎉"))
    assert [piece.text for piece in pieces] == ["", "é", "", "", "", "🎉", ""]
    assert [len(piece.token_ids) for piece in pieces] == [0, 2, 0, 0, 0, 4, 0]


def test_bytes_that_are_no_text_become_replacement_characters() -> None:
    half = encode("é")[:1]
    assert joined(run(Detokenizer(TOKENIZER), half)) == "�"
    assert joined(run(Detokenizer(TOKENIZER), [*half, *encode("a")])) == "�a"


def test_a_stop_string_split_across_tokens_is_held_back_and_found() -> None:
    detokenizer = Detokenizer(TOKENIZER, stops=("lo w",))
    pieces = run(detokenizer, encode("hello wild"))
    assert [piece.text for piece in pieces] == ["hel", "", ""]
    assert detokenizer.stop_text == "lo w"


def test_a_tail_that_turns_out_harmless_is_released() -> None:
    pieces = run(Detokenizer(TOKENIZER, stops=("ab!",)), encode("xabab?"))
    assert [piece.text for piece in pieces] == ["x", "", "", "ab", "", "ab?", ""]


def test_the_stop_string_that_is_complete_first_wins() -> None:
    detokenizer = Detokenizer(TOKENIZER, stops=("abcd", "bc"))
    assert joined(run(detokenizer, encode("xabcd"))) == "xa"
    assert detokenizer.stop_text == "bc"


def test_tokens_after_the_cut_are_not_covered() -> None:
    pieces = run(Detokenizer(TOKENIZER, stops=("b",)), encode("abc"))
    assert [piece.token_ids for piece in pieces] == [tuple(encode("a")), ()]
    kept = run(Detokenizer(TOKENIZER, stops=("b",), include_stop=True), encode("abc"))
    assert [piece.token_ids for piece in kept] == [tuple(encode("a")), tuple(encode("b"))]


def test_special_tokens_are_skipped_unless_they_are_wanted() -> None:
    ids = [*encode("a"), CALL, END, *encode("b")]
    assert joined(run(Detokenizer(TOKENIZER, skip_ids=TOKENIZER.special_ids), ids)) == "ab"
    assert joined(run(Detokenizer(TOKENIZER, skip_ids=frozenset({END})), ids)) == "a<tool_call>b"


def test_a_skipped_token_goes_with_the_text_after_it() -> None:
    detokenizer = Detokenizer(TOKENIZER, skip_ids=TOKENIZER.special_ids)
    (letter,) = encode("a")
    assert detokenizer.push(END) == Piece("", ())
    assert detokenizer.push(letter) == Piece("a", (END, letter))


@pytest.mark.parametrize("min_tokens", range(5))
def test_no_stop_string_begins_before_min_tokens(min_tokens: int) -> None:
    detokenizer = Detokenizer(TOKENIZER, stops=("ab",), min_tokens=min_tokens)
    assert joined(run(detokenizer, encode("ababab"))) == "ab" * -(-min_tokens // 2)


def test_empty_stop_strings_stop_nothing() -> None:
    assert joined(run(Detokenizer(TOKENIZER, stops=("",)), encode("abc"))) == "abc"


def test_tokens_beyond_the_vocabulary_have_no_text() -> None:
    """Models often have more logits than their tokenizer has tokens."""
    ids = [TOKENIZER.vocab_size + 5, *encode("a")]
    assert joined(run(Detokenizer(TOKENIZER), ids)) == "a"


def test_the_blank_before_a_word_is_kept() -> None:
    pieces = sentencepiece()
    ids = pieces.encode("he he", add_special=False)
    detokenizer = Detokenizer(pieces)
    assert "".join(detokenizer.push(token_id).text for token_id in ids) == " he he"
