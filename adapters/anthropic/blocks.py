"""The content blocks of an answer: how each begins, grows, ends, and looks as a whole.

Wire facts: anthropic-sdk-python `types/raw_content_block_*.py`, `types/content_block.py`.
"""

from __future__ import annotations

import base64
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

from pydantic_core import from_json

from adapters.openai.response_input import seal

Value: TypeAlias = dict[str, Any]


class OutputBlock(ABC):
    """is_silent: what it consists of isn't streamed."""

    is_silent: ClassVar[bool] = False

    @abstractmethod
    def start(self) -> Value:
        """The block while it is empty."""

    @abstractmethod
    def delta(self, text: str) -> Value: ...

    @abstractmethod
    def whole(self, text: str) -> Value:
        """The block that consists of this text."""

    def last_deltas(self, _text: str) -> Iterator[Value]:
        """What is said once the text is complete."""
        yield from ()


@dataclass(frozen=True, slots=True)
class TextBlock(OutputBlock):
    def start(self) -> Value:
        return self.whole("")

    def delta(self, text: str) -> Value:
        return {"type": "text_delta", "text": text}

    def whole(self, text: str) -> Value:
        return {"type": "text", "text": text}


@dataclass(frozen=True, slots=True)
class ThinkingBlock(OutputBlock):
    """The signature is a checksum: clients drop thought that has none, or whose signature is empty."""

    def start(self) -> Value:
        return {"type": "thinking", "thinking": "", "signature": ""}

    def delta(self, text: str) -> Value:
        return {"type": "thinking_delta", "thinking": text}

    def last_deltas(self, text: str) -> Iterator[Value]:
        yield {"type": "signature_delta", "signature": self.signature(text)}

    def whole(self, text: str) -> Value:
        return {"type": "thinking", "thinking": text, "signature": self.signature(text)}

    def signature(self, text: str) -> str:
        return base64.b64encode(hashlib.sha256(text.encode("utf-8", "replace")).digest()).decode()


@dataclass(frozen=True, slots=True)
class OmittedThinkingBlock(ThinkingBlock):
    """For a client that doesn't want to see thought: it is sealed in the signature, and so comes back unread."""

    is_silent: ClassVar[bool] = True

    def whole(self, text: str) -> Value:
        return {"type": "thinking", "thinking": "", "signature": self.signature(text)}

    def signature(self, text: str) -> str:
        return seal(text)


@dataclass(frozen=True, slots=True)
class ToolUseBlock(OutputBlock):
    """Its text is the JSON of the arguments."""

    id: str
    name: str

    def start(self) -> Value:
        return self.whole("")

    def delta(self, text: str) -> Value:
        return {"type": "input_json_delta", "partial_json": text}

    def whole(self, text: str) -> Value:
        return {"type": "tool_use", "id": self.id, "name": self.name, "input": parse_input(text)}


def parse_input(text: str) -> dict[str, Any]:
    """Arguments that were cut short are as far as they got, as the SDKs make them of a stream."""
    try:
        value = from_json(text, allow_partial=True)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
