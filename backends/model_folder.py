"""The folder of a model that a server elsewhere runs: its tokenizer, chat template and sentinels, read here too.

With it, token ids are exact and cost no question to the server. Knows nothing of weights.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from backends.base import ModelInfo
from backends.engine.chat_template import ChatTemplate
from backends.engine.infill import InfillFormat
from backends.engine.model_info import read_model_info
from backends.engine.tokenizer import Tokenizer
from backends.errors import BackendFailed
from backends.request import ChatPrompt


class ModelFolder:
    def __init__(self, path: Path) -> None:
        """Slow. Raises BackendFailed naming the file that is missing or bad."""
        self.path = path
        self.tokenizer = Tokenizer.load(path)
        self.template = ChatTemplate(self.tokenizer)
        self.infill = InfillFormat.detect(self.tokenizer)
        self.info = self._describe()

    @classmethod
    async def open(cls, path: Path) -> ModelFolder | None:
        """None for a folder without a tokenizer.json: the server is asked instead."""
        if not (path / "tokenizer.json").is_file():
            return None
        return await asyncio.to_thread(cls, path)

    def _describe(self) -> ModelInfo:
        """Of a kind of model that we don't know, what its tokenizer tells."""
        found = {
            "insert": self.infill is not None,
            "tools": self.template.supports_tools,
            "thinking": self.template.supports_thinking,
        }
        info = ModelInfo(window=0, path=str(self.path), vocab_size=self.tokenizer.vocab_size)
        with contextlib.suppress(BackendFailed):
            info = read_model_info(self.path)
        return replace(
            info,
            capabilities=frozenset(name for name, is_there in found.items() if is_there),
            chat_template=self.template.source,
            bos_token=self.tokenizer.bos_token,
            eos_token=self.tokenizer.eos_token,
        )

    async def render(self, prompt: ChatPrompt) -> str:
        return await asyncio.to_thread(self.template.render, prompt, None)

    def text_of(self, token_ids: Sequence[int]) -> str:
        """Ids that the tokenizer doesn't know (a model may have more logits) have no text."""
        return self.tokenizer.decode([each for each in token_ids if 0 <= each < self.tokenizer.vocab_size])

    def tokens_of(self, text: str, token_ids: Sequence[int]) -> list[int]:
        """Tokens that stand for exactly `text`, of which token_ids are known to begin with it or to run ahead of it."""
        kept = list(token_ids)
        while kept and not text.startswith(self.text_of(kept)):
            kept.pop()
        rest = text[len(self.text_of(kept)) :]
        return kept + self.tokenizer.encode(rest, add_special=False, parse_special=False)
