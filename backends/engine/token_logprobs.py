"""Log-probabilities as clients get them: with each token's text and bytes."""

from __future__ import annotations

from backends.engine.logprobs import Logprobs, logprobs
from backends.engine.runner import Floats, Ints
from backends.engine.tokenizer import Tokenizer
from backends.events import TokenLogprob


def token_logprob(tokenizer: Tokenizer, token_id: int, found: Logprobs) -> TokenLogprob:
    likeliest = zip(found.top_tokens.tolist(), found.top.tolist(), strict=True)
    top = tuple(_named(tokenizer, top_id, value) for top_id, value in likeliest)
    return _named(tokenizer, token_id, found.chosen, top)


def _named(tokenizer: Tokenizer, token_id: int, value: float, top: tuple[TokenLogprob, ...] = ()) -> TokenLogprob:
    """A model may have more logits than its tokenizer has tokens; these have no bytes."""
    piece = tokenizer.token_bytes(token_id) if token_id < tokenizer.vocab_size else b""
    return TokenLogprob(token_id, piece.decode("utf-8", "replace"), piece, value, top)


class PromptLogprobs:
    """Of a prompt's tokens, gathered chunk by chunk. All choices of the prompt share it."""

    def __init__(self, prompt: Ints, num_top: int, tokenizer: Tokenizer) -> None:
        self._prompt = prompt
        self._num_top = num_top
        self._tokenizer = tokenizer
        self._entries: list[TokenLogprob | None] = [None] * len(prompt)

    @property
    def entries(self) -> tuple[TokenLogprob | None, ...]:
        """One for each token of the prompt; nothing foretells the first."""
        return tuple(self._entries)

    def add(self, start: int, logits: Floats) -> None:
        """logits [n, vocab_size]: of the prompt's tokens start, start + 1, …: each foretells the next one."""
        foretold = self._prompt[start + 1 : start + 1 + len(logits)]
        found = logprobs(logits[: len(foretold)], foretold, [self._num_top] * len(foretold))
        for place, (token_id, each) in enumerate(zip(foretold.tolist(), found, strict=True), start + 1):
            self._entries[place] = token_logprob(self._tokenizer, token_id, each)
