"""OpenAI's two shapes of log-probabilities: chat's list of objects, and text's four parallel lists."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Sequence
from typing import Any

from backends.events import TokenLogprob


def token_name(token: TokenLogprob, *, as_id: bool = False) -> str:
    r"""The token as text; bytes that are no text by themselves as `\xe2\x96`. as_id: vLLM's `token_id:375`."""
    if as_id:
        return f"token_id:{token.id}"
    if "\ufffd" in token.text:
        return "".join(f"\\x{byte:02x}" for byte in token.bytes)
    return token.text


def chat_logprobs(tokens: Iterable[TokenLogprob], *, as_ids: bool = False) -> dict[str, Any]:
    """`{"content": [{token, logprob, bytes, top_logprobs}], "refusal": null}`"""
    content = [
        _entry(token, as_ids) | {"top_logprobs": [_entry(other, as_ids) for other in token.top]} for token in tokens
    ]
    return {"content": content, "refusal": None}


def _entry(token: TokenLogprob, as_id: bool) -> dict[str, Any]:
    return {"token": token_name(token, as_id=as_id), "logprob": token.logprob, "bytes": list(token.bytes)}


def text_logprobs(
    tokens: Sequence[TokenLogprob | None], offset: int, *, first_text: str = "", as_ids: bool = False
) -> dict[str, Any]:
    """`{text_offset, token_logprobs, tokens, top_logprobs}`: parallel lists; offsets count characters from `offset`.

    None stands for a prompt's first token, which has no log-probability; first_text is its text. A code point that
    several tokens share counts where it is complete.
    """
    shape: dict[str, list[Any]] = {"text_offset": [], "token_logprobs": [], "tokens": [], "top_logprobs": []}
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for token in tokens:
        shape["text_offset"].append(offset)
        if token is None:
            row: tuple[Any, ...] = (None, first_text, None)
            offset += len(first_text)
        else:
            row = (token.logprob, token_name(token, as_id=as_ids), _top(token, as_ids))
            offset += len(decoder.decode(token.bytes))
        for name, value in zip(("token_logprobs", "tokens", "top_logprobs"), row, strict=True):
            shape[name].append(value)
    return shape


def _top(token: TokenLogprob, as_ids: bool) -> dict[str, float]:
    """The chosen token is always among them, so there may be one more than was asked for."""
    top = {token_name(other, as_id=as_ids): other.logprob for other in token.top}
    return top | {token_name(token, as_id=as_ids): token.logprob}


def vllm_prompt_logprobs(tokens: Iterable[TokenLogprob | None]) -> list[dict[str, Any] | None]:
    """vLLM's `prompt_logprobs`: for each token of the prompt a map from id to `{logprob, rank, decoded_token}`.

    rank is null for a token below the ones asked for.
    """
    return [None if token is None else _ranked(token) for token in tokens]


def _ranked(token: TokenLogprob) -> dict[str, Any]:
    ranks = {other.id: rank for rank, other in enumerate(token.top, 1)}
    return {
        str(each.id): {"logprob": each.logprob, "rank": ranks.get(each.id), "decoded_token": each.text}
        for each in (token, *token.top)
    }
