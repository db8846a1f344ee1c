"""DRY, "don't repeat yourself": a token that would go on with a run that came before is punished, the longer the more.

After llama.cpp's src/llama-sampling.cpp, which has it from KoboldCpp; first described in pull request 5677 of
oobabooga/text-generation-webui.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from backends.engine.runner import Floats, Ints
from backends.request import Dry

MAX_BREAKER_LENGTH = 40
"""Characters; the rest is cut off, as in llama.cpp."""

MAX_TAIL_LENGTH = 20
"""Tokens after a breaker's first."""

FLOAT_MAX_LOG = 88.7228391
"""A penalty never grows past the greatest float32."""

MAX_REMEMBERED = 64

Breakers: TypeAlias = Mapping[int, tuple[tuple[int, ...], ...]]
"""A token that a breaker may begin with → what must follow it; nothing where the token holds the whole breaker."""


class BreakerTable:
    """The tokens that break a sequence, for one tokenizer.

    texts: what each token stands for, None for none. encode: text to tokens, without special ones.
    """

    def __init__(self, texts: Sequence[str | None], encode: Callable[[str], Sequence[int]]) -> None:
        self._texts = texts
        self._encode = encode
        self._remembered: dict[str, list[tuple[int, tuple[int, ...]]]] = {}

    def resolve(self, breakers: Sequence[str]) -> Breakers:
        """Looks through the vocabulary for each new breaker: tens of milliseconds if it is large, so not in a step."""
        found: dict[int, dict[tuple[int, ...], None]] = {}
        for breaker in breakers:
            for head, tail in self._beginnings(breaker[:MAX_BREAKER_LENGTH]):
                found.setdefault(head, {})[tail] = None
        return {head: tuple(tails) for head, tails in found.items()}

    def _beginnings(self, breaker: str) -> list[tuple[int, tuple[int, ...]]]:
        if breaker not in self._remembered:
            if len(self._remembered) == MAX_REMEMBERED:
                self._remembered.clear()
            self._remembered[breaker] = self._search(breaker) if breaker else []
        return self._remembered[breaker]

    def _search(self, breaker: str) -> list[tuple[int, tuple[int, ...]]]:
        """Tokens and what must follow them: nothing where a token holds the breaker, else the rest of it."""
        found: list[tuple[int, tuple[int, ...]]]
        found = [(token_id, ()) for token_id, text in enumerate(self._texts) if text and breaker in text]
        prefixes = tuple(breaker[:length] for length in range(1, len(breaker)))
        for token_id, text in enumerate(self._texts) if prefixes else ():
            if text and text.endswith(prefixes) and breaker not in text:
                rests = [breaker[len(prefix) :] for prefix in prefixes if text.endswith(prefix)]
                found += [(token_id, tuple(self._encode(rest))[:MAX_TAIL_LENGTH]) for rest in rests]
        return found


class DryState:
    """One sequence's tokens, as DRY looks at them."""

    def __init__(self, settings: Dry, breakers: Breakers, prompt: Ints) -> None:
        self._settings = settings
        self._breakers = breakers
        self._tokens = np.array(prompt, np.int32)
        self._num_tokens = len(prompt)
        growth = math.log(settings.base)
        self._max_exponent = FLOAT_MAX_LOG // growth if 1e-6 < growth < FLOAT_MAX_LOG else math.inf

    def accept(self, token_id: int) -> None:
        if self._num_tokens == len(self._tokens):
            self._tokens = np.concatenate((self._tokens, np.zeros(max(64, self._num_tokens), np.int32)))
        self._tokens[self._num_tokens] = token_id
        self._num_tokens += 1

    def penalties(self) -> tuple[Ints, Floats]:
        """Tokens [n], each once, and what comes off their logits [n]."""
        window = self._settings.window
        start = max(0, self._num_tokens - window) if window >= 0 else 0
        tokens, lengths = self._repeats(self._tokens[start : self._num_tokens])
        exponents = np.minimum(lengths - self._settings.allowed_length, self._max_exponent)
        amounts = self._settings.multiplier * np.power(self._settings.base, exponents)
        is_punished = np.array([() not in self._breakers.get(token, ()) for token in tokens.tolist()], np.bool_)
        return tokens[is_punished], amounts[is_punished].astype(np.float32)

    def _repeats(self, tokens: Ints) -> tuple[Ints, Ints]:
        """Tokens that would go on with a repeated run, and the length of the longest such run, if long enough."""
        allowed = self._settings.allowed_length
        limit = self._run_limit(tokens)
        if len(tokens) <= allowed or limit < allowed:
            return np.empty(0, np.int32), np.empty(0, np.int32)
        lengths = _run_lengths(tokens, limit)
        ends = np.flatnonzero(lengths >= allowed)
        following, which = np.unique(tokens[ends + 1], return_inverse=True)
        longest = np.zeros(len(following), np.int32)
        np.maximum.at(longest, which, lengths[ends])
        return following, longest

    def _run_limit(self, tokens: Ints) -> int:
        """How many tokens came since the last breaker: a run doesn't reach across. Longer runs than the greatest
        exponent counts are cut short, so that text that goes in circles costs no more than other text."""
        longest = int(min(len(tokens), max(0, self._settings.allowed_length) + self._max_exponent))
        latest = tokens[: -longest - MAX_TAIL_LENGTH - 2 : -1].tolist()
        for age, token in enumerate(latest):
            tails = self._breakers.get(token, ())
            matched = [len(tail) for tail in tails if latest[age - len(tail) : age] == [*reversed(tail)]]
            if matched:
                return min(longest, age - max(matched))
        return longest


def _run_lengths(tokens: Ints, limit: int) -> Ints:
    """For each place but the last: how many tokens up to it are the same as the last ones, `limit` at most."""
    num_places = len(tokens) - 1
    lengths = np.zeros(num_places, np.int32)
    is_same = np.ones(num_places, np.bool_)
    for length in range(min(limit, num_places)):
        is_same[:length] = False
        is_same[length:] &= tokens[: num_places - length] == tokens[-1 - length]
        if not is_same.any():
            break
        lengths += is_same
    return lengths
