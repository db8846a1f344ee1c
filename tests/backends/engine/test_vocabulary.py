from __future__ import annotations

import pytest
from tokenizers import pre_tokenizers

from backends.engine.vocabulary import token_bytes
from backends.errors import BackendFailed

BYTE_LEVEL = {"type": "ByteLevel"}
SENTENCEPIECE = {
    "type": "Sequence",
    "decoders": [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0},
    ],
}


def test_byte_level_tokens_are_written_in_stand_ins() -> None:
    vocabulary = {letter: index for index, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    assert sorted(token_bytes(vocabulary, {}, BYTE_LEVEL, None)) == [bytes([byte]) for byte in range(256)]
    assert token_bytes({"Ġcafé": 0}, {}, BYTE_LEVEL, None) == [b" caf\xe9"]


def test_tokens_outside_the_stand_ins_are_as_written() -> None:
    assert token_bytes({"日本": 0, "a b": 1, "\u00a0": 2}, {}, BYTE_LEVEL, None) == [
        "日本".encode(),
        b"a b",
        "\u00a0".encode(),
    ]


def test_the_pre_tokenizer_tells_where_there_is_no_decoder() -> None:
    parts = {"type": "Sequence", "pretokenizers": [{"type": "Split"}, BYTE_LEVEL]}
    assert token_bytes({"Ġa": 0}, {}, None, parts) == [b" a"]
    assert token_bytes({"Ġa": 0}, {}, None, None) == ["Ġa".encode()]


def test_sentencepiece_tokens_have_blanks_and_bytes() -> None:
    vocabulary = {"▁the▁": 0, "<0xC3>": 1, "<0xZZ>": 2, "é": 3}
    assert token_bytes(vocabulary, {}, SENTENCEPIECE, None) == [b" the ", b"\xc3", b"<0xZZ>", "é".encode()]


def test_metaspace_names_its_own_blank() -> None:
    metaspace = {"type": "Metaspace", "replacement": "_"}
    assert token_bytes({"_a▁": 0}, {}, metaspace, None) == [" a▁".encode()]


def test_added_tokens_are_as_written() -> None:
    for decoder in (BYTE_LEVEL, SENTENCEPIECE):
        assert token_bytes({"▁<PRE>": 0, "é": 1}, {0: "▁<PRE>", 1: "é"}, decoder, None) == [
            "▁<PRE>".encode(),
            "é".encode(),
        ]


def test_ids_that_nobody_has_stand_for_nothing() -> None:
    assert token_bytes({"a": 2}, {4: "<x>"}, BYTE_LEVEL, None) == [b"", b"", b"a", b"", b"<x>"]


@pytest.mark.parametrize("kind", ["WordPiece", "CTC", "BPEDecoder"])
def test_decoders_that_put_things_between_tokens_are_refused(kind: str) -> None:
    with pytest.raises(BackendFailed, match=kind):
        token_bytes({}, {}, {"type": kind}, None)
