"""Bytes as tokens."""

from __future__ import annotations

from collections.abc import Sequence

from backends.errors import InvalidField

BOS, EOS = "<s>", "</s>"


class ByteTokenizer:
    """Every byte is a token; then `<s>` and `</s>`. So a code point is one to four tokens."""

    bos_id = 256
    eos_id = 257
    vocab_size = 258

    def encode(self, text: str, *, add_special: bool = False) -> list[int]:
        return [*([self.bos_id] if add_special else []), *text.encode()]

    def bytes_of(self, token_id: int) -> bytes:
        """Raises InvalidField for an id outside the vocabulary."""
        if not 0 <= token_id < self.vocab_size:
            raise InvalidField("tokens", f"no token has the id {token_id}", token_id)
        special = {self.bos_id: BOS.encode(), self.eos_id: EOS.encode()}
        return special.get(token_id) or bytes([token_id])

    def decode(self, token_ids: Sequence[int]) -> str:
        return b"".join(map(self.bytes_of, token_ids)).decode("utf-8", "replace")


TOKENIZER = ByteTokenizer()
