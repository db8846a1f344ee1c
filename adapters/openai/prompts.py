"""The forms of a prompt on OpenAI's text routes: text, texts, token ids, or lists of token ids."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

TokenIds: TypeAlias = tuple[int, ...]


def _as_prompts(value: Any) -> Any:
    """Every form becomes a list of prompts."""
    match value:
        case str():
            return [value]
        case [int(), *_]:
            return [value]
        case list():
            return value
        case _:
            raise PydanticCustomError("prompt", "expected a string, token ids, or an array of either")


Prompts: TypeAlias = Annotated[tuple[str | TokenIds, ...], BeforeValidator(_as_prompts)]
