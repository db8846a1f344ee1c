"""Log-probabilities as vLLM and OpenAI write them → ours. Pure.

A token's text may hide bytes that aren't UTF-8. Where the tokenizer is at hand, vLLM is asked to write `token_id:375`
in place of the text, and both are exact; elsewhere an id that isn't known is -1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from backends.events import TokenLogprob

TokenBytes: TypeAlias = Callable[[int], bytes]

UNKNOWN = -1
_BY_ID = "token_id:"


def chat_logprobs(wire: Mapping[str, Any], ids: Sequence[int], token_bytes: TokenBytes | None) -> list[TokenLogprob]:
    """`{"content": [{"token", "logprob", "bytes", "top_logprobs"}]}`; ids: of the same tokens, or none."""
    entries = wire.get("content") or ()
    return [_chat_entry(entry, _id(ids, place, len(entries)), token_bytes) for place, entry in enumerate(entries)]


def _chat_entry(entry: Mapping[str, Any], token_id: int, token_bytes: TokenBytes | None) -> TokenLogprob:
    text = entry["token"]
    others = entry.get("top_logprobs") or ()
    top = tuple(_chat_entry(other, token_id if other["token"] == text else UNKNOWN, token_bytes) for other in others)
    named = _named(text, token_id, entry["logprob"], token_bytes, top)
    if entry.get("bytes") is None or text.startswith(_BY_ID):
        return named
    return TokenLogprob(named.id, text, bytes(entry["bytes"]), entry["logprob"], top)


def text_logprobs(wire: Mapping[str, Any], ids: Sequence[int], token_bytes: TokenBytes | None) -> list[TokenLogprob]:
    """`{"tokens": […], "token_logprobs": […], "top_logprobs": [{text: logprob}]}`."""
    tokens, values = wire.get("tokens") or (), wire.get("token_logprobs") or ()
    tops = wire.get("top_logprobs") or [None] * len(tokens)
    found = []
    for place, (text, value, likeliest) in enumerate(zip(tokens, values, tops, strict=True)):
        token_id = _id(ids, place, len(tokens))
        ranked = sorted((likeliest or {}).items(), key=lambda item: -item[1])
        top = tuple(_named(other, token_id if other == text else UNKNOWN, each, token_bytes) for other, each in ranked)
        found.append(_named(text, token_id, 0.0 if value is None else value, token_bytes, top))
    return found


def prompt_logprobs(
    wire: Sequence[Mapping[str, Any] | None], ids: Sequence[int], num_top: int, token_bytes: TokenBytes | None
) -> tuple[TokenLogprob | None, ...]:
    """vLLM's: for each token of the prompt `{id: {"logprob", "rank", "decoded_token"}}`; null for the first."""
    return tuple(
        None if entry is None else _prompt_entry(entry, token_id, num_top, token_bytes)
        for entry, token_id in zip(wire, ids, strict=True)
    )


def _prompt_entry(
    entry: Mapping[str, Any], token_id: int, num_top: int, token_bytes: TokenBytes | None
) -> TokenLogprob:
    def named(key: str, top: tuple[TokenLogprob, ...] = ()) -> TokenLogprob:
        token = entry[key]
        text = f"{_BY_ID}{key}" if token_bytes else token.get("decoded_token") or ""
        return _named(text, int(key), token["logprob"], token_bytes, top)

    ranked = sorted(entry, key=lambda key: entry[key].get("rank") or 0)
    return named(str(token_id), tuple(named(key) for key in ranked[:num_top]))


def _named(
    text: str, token_id: int, value: float, token_bytes: TokenBytes | None, top: tuple[TokenLogprob, ...] = ()
) -> TokenLogprob:
    if token_bytes is None or not text.startswith(_BY_ID):
        return TokenLogprob(token_id, text, text.encode(), value, top)
    token_id = int(text.removeprefix(_BY_ID))
    piece = token_bytes(token_id)
    return TokenLogprob(token_id, piece.decode("utf-8", "replace"), piece, value, top)


def _id(ids: Sequence[int], place: int, num_tokens: int) -> int:
    return ids[place] if len(ids) == num_tokens else UNKNOWN
