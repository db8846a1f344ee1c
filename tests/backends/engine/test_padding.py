from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from backends.engine.padding import Padding

TT = Padding(smallest=128, second=1024)
BLOCK = 64


def test_lengths_are_tt_metals() -> None:
    """models/tt_transformers/tt/common.py: get_padded_prefill_len."""
    lengths = {1: 128, 128: 128, 129: 1024, 1024: 1024, 1025: 2048, 2049: 4096, 5000: 8192}
    assert {length: TT.padded(length) for length in lengths} == lengths


def test_any_length_is_its_own_where_nothing_is_padded() -> None:
    assert [Padding().padded(length) for length in (1, 77, 5000)] == [1, 77, 5000]


@given(st.integers(1, 20_000), st.integers(1, 20_000))
def test_what_fits_fits_and_ends_with_a_block(num_pending: int, room: int) -> None:
    for padding in (TT, Padding()):
        num_tokens = padding.fitting(num_pending, room, BLOCK)
        assert 0 <= num_tokens <= num_pending
        if num_tokens:
            assert padding.padded(num_tokens) <= room
        assert num_tokens == num_pending or num_tokens % BLOCK == 0


def test_a_chunk_fills_its_length() -> None:
    """A cut in between would be paid for in full."""
    assert TT.fitting(5000, 1023, BLOCK) == 128
    assert TT.fitting(5000, 3000, BLOCK) == 2048
    assert TT.fitting(900, 1024, BLOCK) == 900
    assert TT.fitting(5000, 127, BLOCK) == 0
