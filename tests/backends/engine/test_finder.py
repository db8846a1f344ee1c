from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from backends.engine.finder import StringFinder

strings = st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=3).map(tuple)


@given(strings, st.lists(st.text("abc", max_size=4)))
def test_the_first_string_to_be_complete_is_found(strings: tuple[str, ...], pieces: list[str]) -> None:
    finder = StringFinder(strings)
    read = ""
    for piece in pieces:
        found = finder.find(piece)
        ends = [end for end in range(1, len(read + piece) + 1) if (read + piece)[:end].endswith(strings)]
        if found is None:
            read += piece
            assert not ends
            tails = [read[len(read) - size :] for size in range(1, len(read) + 1)]
            assert finder.num_held == max(
                (len(tail) for tail in tails if any(each.startswith(tail) for each in strings)), default=0
            )
        else:
            end, string = found
            assert len(read) + end == ends[0]
            assert string == max((each for each in strings if (read + piece)[: ends[0]].endswith(each)), key=len)
            return


@given(strings, st.text("abc", max_size=6))
def test_text_that_is_far_from_every_string_need_not_be_read(strings: tuple[str, ...], text: str) -> None:
    finder = StringFinder(strings)
    if finder.is_far_from(text):
        assert finder.find(text) is None
        assert finder.num_held == 0


def test_the_next_search_begins_after_the_string() -> None:
    finder = StringFinder(("aba",))
    assert finder.find("aba") == (3, "aba")
    assert finder.find("ba") is None
    assert finder.num_held == 1


def test_a_long_string_costs_no_more_than_its_length() -> None:
    """Each of these characters would be looked at half a million times by a naive search."""
    finder = StringFinder(("a" * 20_000 + "b",))
    for _ in range(50):
        assert finder.find("a" * 1_000) is None
    assert finder.num_held == 20_000
