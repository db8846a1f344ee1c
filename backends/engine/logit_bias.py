"""What a request adds to the logits of single tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from backends.engine.runner import Floats


@dataclass(frozen=True, slots=True)
class LogitBias:
    """tokens [n], each once; amounts [n], -inf bans."""

    tokens: npt.NDArray[np.int64]
    amounts: Floats

    @classmethod
    def resolve(
        cls, wanted: Mapping[int | str, float | Literal[False]], encode: Callable[[str], Sequence[int]], vocab_size: int
    ) -> LogitBias:
        """encode: text to tokens, without special ones. What is said twice of a token adds up.

        An id outside the vocabulary is left out, as llama.cpp does: clients send ids of another model's tokenizer.
        """
        amounts: dict[int, float] = {}
        for key, value in wanted.items():
            amount = -np.inf if value is False else float(value)
            for token in encode(key) if isinstance(key, str) else (key,):
                if 0 <= token < vocab_size:
                    amounts[token] = amounts.get(token, 0.0) + amount
        return cls(np.array([*amounts], np.int64), np.array([*amounts.values()], np.float32))
