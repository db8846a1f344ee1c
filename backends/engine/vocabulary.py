"""What each token of a vocabulary stands for, in bytes. Knows nothing of how text is cut into tokens."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from backends.errors import BackendFailed

JOINERS = frozenset({"ByteLevel", "ByteFallback", "Metaspace", "Replace", "Fuse", "Strip", "Sequence"})
"""The decoders of the `tokenizers` library after which tokens are joined as they are. The others (WordPiece, CTC, …)
put blanks between tokens or drop repeated ones, so that a token has no bytes of its own."""

BYTE_TOKEN = re.compile("<0x([0-9A-F]{2})>")


def token_bytes(
    vocabulary: Mapping[str, int], added: Mapping[int, str], decoder: Any, pre_tokenizer: Any
) -> list[bytes]:
    """By token id; an id that nobody has stands for no bytes.

    vocabulary: token → id. added: the tokens that were added to the trained ones; they are written as they are.
    decoder, pre_tokenizer: those parts of tokenizer.json. Raises BackendFailed for a decoder that joins no bytes.
    """
    kinds = set(_kinds(decoder))
    if kinds - JOINERS:
        raise BackendFailed(f"tokenizer.json has a decoder of a kind that can't be streamed: {', '.join(kinds)}")
    table = [b""] * (max([*vocabulary.values(), *added], default=-1) + 1)
    is_byte_level = "ByteLevel" in kinds or (not kinds and "ByteLevel" in set(_kinds(pre_tokenizer)))
    read: Callable[[str], bytes] = (
        _read_byte_level if is_byte_level else _PieceReader(_blank(decoder), "ByteFallback" in kinds)
    )
    for token, token_id in vocabulary.items():
        table[token_id] = read(token)
    for token_id, token in added.items():
        table[token_id] = token.encode()
    return table


def _kinds(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        yield part["type"]
        for inner in part.get("decoders") or part.get("pretokenizers") or ():
            yield from _kinds(inner)


def _byte_level_alphabet() -> dict[int, int]:
    """GPT-2's printable stand-ins: code point → byte (openai/gpt-2 src/encoder.py, `bytes_to_unicode`)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    foreign = dict.fromkeys(others, ord("\uffff"))  # no stand-ins: they stand for themselves
    return {**foreign, **{byte: byte for byte in printable}, **{256 + place: byte for place, byte in enumerate(others)}}


_BYTE_LEVEL = _byte_level_alphabet()


def _read_byte_level(token: str) -> bytes:
    try:
        return token.translate(_BYTE_LEVEL).encode("latin-1")
    except UnicodeEncodeError:  # not in GPT-2's alphabet: the library takes such a token as it is written
        return token.encode()


@dataclass(frozen=True, slots=True)
class _PieceReader:
    """SentencePiece's tokens: `▁` is a blank, and `<0x0A>` a byte where the model falls back to bytes."""

    blank: str
    falls_back_to_bytes: bool

    def __call__(self, token: str) -> bytes:
        if self.falls_back_to_bytes and (byte := BYTE_TOKEN.fullmatch(token)):
            return bytes([int(byte[1], 16)])
        return (token.replace(self.blank, " ") if self.blank else token).encode()


def _blank(decoder: Any) -> str:
    """The character that stands for a blank, or nothing."""
    if not isinstance(decoder, dict):
        return ""
    if decoder["type"] == "Metaspace":
        return str(decoder["replacement"])
    if decoder["type"] == "Replace" and decoder["content"] == " ":
        return str(decoder["pattern"].get("String", ""))
    return next(filter(None, map(_blank, decoder.get("decoders", ()))), "")
