"""The samplers as their papers and llama.cpp's formulas have them, token by token in plain Python.

Written to be obviously right, not fast, and apart from the code under test. A distribution is a dict of token → logit;
a token that is left out is not in it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

Logits = dict[int, float]


def ranked(logits: Logits) -> list[int]:
    return sorted(logits, key=lambda token: (-logits[token], token))


def softmax(logits: Logits) -> dict[int, float]:
    highest = max(logits.values())
    weights = {token: math.exp(logit - highest) for token, logit in logits.items()}
    total = math.fsum(weights.values())
    return {token: weight / total for token, weight in weights.items()}


def entropy(probabilities: dict[int, float]) -> float:
    return -math.fsum(p * math.log(p) for p in probabilities.values() if p > 0)


def only(logits: Logits, tokens: Sequence[int]) -> Logits:
    return {token: logits[token] for token in tokens}


def temperature(logits: Logits, value: float) -> Logits:
    return {token: logit / value for token, logit in logits.items()}


def dynamic_temperature(logits: Logits, value: float, spread: float, exponent: float) -> Logits:
    if len(logits) == 1:
        return logits
    low, high = max(0.0, value - spread), value + spread
    share = entropy(softmax(logits)) / math.log(len(logits))
    return temperature(logits, low + (high - low) * share**exponent)


def top_k(logits: Logits, k: int) -> Logits:
    return only(logits, ranked(logits)[:k])


def top_p(logits: Logits, p: float) -> Logits:
    probabilities = softmax(logits)
    kept: list[int] = []
    for token in ranked(logits):
        kept.append(token)
        if math.fsum(probabilities[each] for each in kept) >= p:
            break
    return only(logits, kept)


def min_p(logits: Logits, p: float) -> Logits:
    probabilities = softmax(logits)
    least = min(p, 1.0) * max(probabilities.values())
    return only(logits, [token for token in logits if probabilities[token] >= least])


def top_n_sigma(logits: Logits, n: float) -> Logits:
    mean = math.fsum(logits.values()) / len(logits)
    sigma = math.sqrt(math.fsum((logit - mean) ** 2 for logit in logits.values()) / len(logits))
    least = max(logits.values()) - n * sigma
    return only(logits, [token for token in logits if logits[token] >= least])


def typical_p(logits: Logits, p: float) -> Logits:
    probabilities = softmax(logits)
    expected = entropy(probabilities)
    distance = {token: abs(-math.log(probabilities[token]) - expected) for token in logits}
    kept: list[int] = []
    for token in sorted(logits, key=lambda token: (distance[token], ranked(logits).index(token))):
        kept.append(token)
        if math.fsum(probabilities[each] for each in kept) > p:
            break
    return only(logits, kept)


def xtc(logits: Logits, threshold: float) -> Logits:
    """When its chance has come."""
    probabilities = softmax(logits)
    top = [token for token in ranked(logits) if probabilities[token] >= threshold]
    return only(logits, [token for token in logits if token not in top[:-1]])


def penalties(
    logits: Logits, seen: Sequence[int], counted: Sequence[int], repetition: float, frequency: float, presence: float
) -> Logits:
    def penalized(token: int, logit: float) -> float:
        if token in seen:
            logit = logit / repetition if logit > 0 else logit * repetition
        return logit - frequency * counted.count(token) - presence * (token in counted)

    return {token: penalized(token, logit) for token, logit in logits.items()}


def dry_lengths(tokens: Sequence[int], allowed: int, breakers: Sequence[Sequence[int]] = ()) -> dict[int, int]:
    """For each token that would go on with a repeated run: the length of the longest one. Quadratic, by the book."""
    since_breaker = len(tokens)
    for end in range(len(tokens), 0, -1):
        if any(breaker and list(tokens[end - len(breaker) : end]) == list(breaker) for breaker in breakers):
            since_breaker = len(tokens) - end
            break
    found: dict[int, int] = {}
    for place in range(len(tokens) - 1):
        length = 0
        while length <= place and length < since_breaker and tokens[place - length] == tokens[-1 - length]:
            length += 1
        if length >= allowed and [tokens[place + 1]] not in [list(breaker) for breaker in breakers]:
            found[tokens[place + 1]] = max(length, found.get(tokens[place + 1], 0))
    return found


def mirostat_1_rank(logits: Logits, mu: float, vocab_size: int, m: int = 100) -> int:
    probabilities = softmax(logits)
    top = [probabilities[token] for token in ranked(logits)][:m]
    steps = [math.log((i + 2) / (i + 1)) for i in range(len(top) - 1)]
    falls = [math.log(top[i] / top[i + 1]) for i in range(len(top) - 1)]
    s = sum(t * b for t, b in zip(steps, falls, strict=True)) / sum(t * t for t in steps)
    epsilon = s - 1
    return max(1, int((epsilon * 2**mu / (1 - vocab_size**-epsilon)) ** (1 / s)))


def mirostat_2(logits: Logits, mu: float) -> Logits:
    probabilities = softmax(logits)
    kept = [token for token in ranked(logits) if -math.log2(probabilities[token]) <= mu]
    return only(logits, kept or ranked(logits)[:1])
