"""One sequence's tokens become text as they come.

Owns what is held back: bytes of an unfinished code point, and text that may be the beginning of a stop string.
Knows nothing of events. All of it runs in the engine's thread, once a token.
"""

from __future__ import annotations

import codecs
from collections import deque
from dataclasses import dataclass

from backends.engine.finder import StringFinder
from backends.engine.tokenizer import Tokenizer


@dataclass(slots=True)
class Piece:
    """Text that is ready, and the tokens that it stands for. Both may be empty."""

    text: str
    token_ids: tuple[int, ...]


class Detokenizer:
    """Whatever the tokens, the pieces joined are the text of all of them up to the first stop string that is complete.

    stop_text: the stop string that came up; nothing comes after it. skip_ids: tokens without text
    (`tokenizer.special_ids`, less those that a parser must see). include_stop: the stop string is the last text.
    min_tokens: no stop string begins in the first so many tokens.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        stops: tuple[str, ...] = (),
        include_stop: bool = False,
        skip_ids: frozenset[int] = frozenset(),
        min_tokens: int = 0,
    ) -> None:
        self.stop_text: str | None = None
        self._tokenizer = tokenizer
        self._texts = tokenizer.texts
        self._skip_ids = skip_ids
        stops = tuple(filter(None, stops))
        self._stops = StringFinder(stops) if stops else None
        self._include_stop = include_stop
        self._num_unstoppable = min_tokens
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._has_partial_char = False
        self._held = ""
        self._num_released = 0  # characters
        self._waiting: deque[tuple[int, int]] = deque()  # token id, and where its text begins

    def push(self, token_id: int) -> Piece:
        text = self._text(token_id)
        stops = self._stops
        if self._num_unstoppable > 0:
            self._num_unstoppable -= 1
            stops = None
        if text and not self._waiting and (stops is None or stops.is_far_from(text)):
            self._num_released += len(text)
            return Piece(text, (token_id,))
        self._waiting.append((token_id, self._num_released + len(self._held)))
        return self._release(text, stops)

    def flush(self) -> Piece:
        """What was held back; call once, at the end."""
        if self.stop_text is not None:
            return Piece("", ())
        piece = self._release(self._decoder.decode(b"", final=True), self._stops)
        if self.stop_text is not None:
            return piece
        rest = tuple(token_id for token_id, _ in self._waiting)
        return Piece(piece.text + self._held, piece.token_ids + rest)

    def _text(self, token_id: int) -> str:
        """What a token adds to the text; nothing while a code point is unfinished."""
        if token_id in self._skip_ids or token_id >= len(self._texts):
            return ""
        text = self._texts[token_id]
        if text is None or self._has_partial_char:
            text = self._decoder.decode(self._tokenizer.token_bytes(token_id))
            self._has_partial_char = bool(self._decoder.getstate()[0])
        return text

    def _release(self, text: str, stops: StringFinder | None) -> Piece:
        """Everything up to the end of `text` that can be no part of a stop string."""
        held = self._held + text
        num_ready = len(held)
        if stops is not None:
            found = stops.find(text)
            if found is None:
                num_ready -= stops.num_held
            else:
                end, self.stop_text = found
                num_ready = len(self._held) + end - (0 if self._include_stop else len(self.stop_text))
        ready, self._held = held[:num_ready], held[num_ready:]
        self._num_released += num_ready
        return Piece(ready, self._take_released())

    def _take_released(self) -> tuple[int, ...]:
        """The tokens whose text has begun to be released: a token without text goes with the one after it."""
        taken = []
        while self._waiting and self._waiting[0][1] < self._num_released:
            taken.append(self._waiting.popleft()[0])
        return tuple(taken)
