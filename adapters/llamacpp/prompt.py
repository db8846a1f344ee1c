"""The forms of a llama.cpp `prompt`. Knows neither the other fields nor the model but for its vocabulary's size.

One prompt is a string, token ids, both mixed, or `{"prompt_string": …}`; several are an array of any of these. An
array that holds a number is one prompt. Source: llama.cpp tools/server/server-common.cpp, tokenize_input_prompts.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from adapters.llamacpp.errors import Refusal, missing_key
from backends.request import TextPrompt

_ELEMENTS = (
    '"prompt" elements must be a string, a list of tokens, a JSON object containing a prompt string, '
    "or a list of mixed strings & tokens."
)


def read_prompts(body: Mapping[str, Any], vocab_size: int) -> tuple[TextPrompt, ...]:
    """vocab_size: 0 where it isn't known. Raises Refusal."""
    if "prompt" not in body:
        raise missing_key("prompt")
    return to_prompts(body["prompt"], vocab_size)


def to_prompts(value: Any, vocab_size: int) -> tuple[TextPrompt, ...]:
    several = isinstance(value, list) and not any(_is_token(item) for item in value)
    prompts = tuple(_to_prompt(item, vocab_size) for item in (value if several else [value]))
    if not prompts:
        raise Refusal('"prompt" must not be empty')
    return prompts


def _to_prompt(value: object, vocab_size: int) -> TextPrompt:
    match value:
        case str():
            return TextPrompt((value,))
        case list() if all(isinstance(item, str) or _is_token(item) for item in value) and any(map(_is_token, value)):
            return TextPrompt(_parts(value, vocab_size), add_special=isinstance(value[0], str))
        case {"prompt_string": _, "multimodal_data": _}:
            raise Refusal("Multimodal data provided, but model does not support multimodal requests.")
        case {"prompt_string": text}:
            return _to_prompt(text, vocab_size)
        case _:
            raise Refusal(_ELEMENTS)


def _parts(items: list[Any], vocab_size: int) -> tuple[str | tuple[int, ...], ...]:
    """Token ids that stand together are one part."""
    parts: list[str | tuple[int, ...]] = []
    for is_text, run in itertools.groupby(items, lambda item: isinstance(item, str)):
        if is_text:
            parts += run
        else:
            parts.append(tuple(_token_id(item, vocab_size) for item in run))
    return tuple(parts)


def _token_id(token_id: int, vocab_size: int) -> int:
    if token_id < 0 or 0 < vocab_size <= token_id:
        raise Refusal("Prompt contains invalid tokens")
    return token_id


def _is_token(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
