"""What a llama.cpp answer says of time and of probabilities: `timings` and `completion_probabilities`.

Source: llama.cpp tools/server/server-common.{h,cpp} (server_slot_stats) and server-task.cpp (completion_token_output).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from backends.events import Finished, Prefilled, Started, TokenLogprob

_LOWEST = -3.4028234663852886e38  # stands for -infinity, which JSON doesn't have


def timings(cached: int, prompt: int, prompt_ms: float, predicted: int, predicted_ms: float) -> dict[str, float]:
    """Counts are of tokens; prompt: those evaluated, without the cached. The first token comes with the prompt, so
    the rate of generating counts the others."""
    steps = max(0, predicted - 1)
    return {
        "cache_n": cached,
        "prompt_n": prompt,
        "prompt_ms": prompt_ms,
        "prompt_per_token_ms": prompt_ms / prompt if prompt else 0.0,
        "prompt_per_second": 1000 * prompt / prompt_ms if prompt_ms else 0.0,
        "predicted_n": predicted,
        "predicted_ms": predicted_ms,
        "predicted_per_token_ms": predicted_ms / steps if steps else 0.0,
        "predicted_per_second": 1000 * steps / predicted_ms if predicted_ms else 0.0,
    }


def final_timings(end: Finished) -> dict[str, float]:
    usage = end.usage
    evaluated = usage.prompt_tokens - usage.cached_tokens
    prefill_ms, decode_ms = end.timings.prefill_s * 1000, end.timings.decode_s * 1000
    return timings(usage.cached_tokens, evaluated, prefill_ms, usage.completion_tokens, decode_ms)


@dataclass(slots=True)
class Stopwatch:
    """One choice on its way, for timings that are told before its end."""

    started: Started
    clock: Callable[[], float] = time.perf_counter
    prefilled: Prefilled | None = None
    num_tokens: int = 0
    _first_token_at: float = field(default=math.nan)

    def count(self, num_tokens: int) -> None:
        """So many more tokens have come."""
        if self.num_tokens == 0:
            self._first_token_at = self.clock()
        self.num_tokens += num_tokens

    def timings(self) -> dict[str, float]:
        cached, elapsed_s = (self.prefilled.cached, self.prefilled.elapsed_s) if self.prefilled else (0, 0.0)
        predicted_s = self.clock() - self._first_token_at if self.num_tokens else 0.0
        return timings(
            cached, self.started.prompt_tokens - cached, elapsed_s * 1000, self.num_tokens, predicted_s * 1000
        )


def progress(event: Prefilled) -> dict[str, int]:
    """`prompt_progress`, which `return_progress` asks for."""
    return {
        "total": event.total,
        "cache": event.cached,
        "processed": event.processed,
        "time_ms": round(event.elapsed_s * 1000),
    }


def probabilities(tokens: Iterable[TokenLogprob], *, is_post_sampling: bool) -> list[dict[str, Any]]:
    """is_post_sampling: under the names of probabilities, as `post_sampling_probs` asks. The numbers are those before
    sampling in either case: no backend tells the others."""
    top_name = "top_probs" if is_post_sampling else "top_logprobs"
    return [
        _probability(token, is_post_sampling)
        | {top_name: [_probability(other, is_post_sampling) for other in token.top]}
        for token in tokens
    ]


def _probability(token: TokenLogprob, is_post_sampling: bool) -> dict[str, Any]:
    known = {"id": token.id, "token": _complete_text(token), "bytes": list(token.bytes)}
    if is_post_sampling:
        return known | {"prob": math.exp(token.logprob)}
    return known | {"logprob": max(token.logprob, _LOWEST)}


def _complete_text(token: TokenLogprob) -> str:
    """Without the beginning of a code point that the next token ends."""
    return token.bytes.decode("utf-8", "ignore")
