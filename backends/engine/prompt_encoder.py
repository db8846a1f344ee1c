"""A prompt of any kind becomes the token ids that the model gets, and what is to be known for reading its answer.

Runs on the event loop and never holds it: templates, long texts and grammars are worked on in threads. Knows nothing of
sampling, windows or sequences.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from typing_extensions import assert_never

from backends.engine.chat_template import ChatTemplate
from backends.engine.grammar import Grammar, GrammarCompiler
from backends.engine.infill import InfillFormat, no_infill
from backends.engine.parsers import OutputParser, OutputSyntax, PlainParser
from backends.engine.runner import Ints
from backends.engine.tokenizer import Tokenizer
from backends.errors import InvalidField
from backends.request import ChatPrompt, InfillPrompt, OutputFormat, Prompt, TextPrompt


@dataclass(frozen=True, slots=True)
class Encoded:
    """end_ids: tokens by which the model ends its answer. skip_ids: tokens that have no text in it.

    parser: makes one for the choice of that number. grammar: unused yet; further choices take copies.
    """

    ids: Ints
    text: str
    end_ids: frozenset[int]
    skip_ids: frozenset[int]
    parser: Callable[[int], OutputParser]
    grammar: Grammar | None


class PromptEncoder:
    """num_logits: how many tokens the runner knows, which may be more than the tokenizer does."""

    def __init__(self, tokenizer: Tokenizer, num_logits: int) -> None:
        self.template = ChatTemplate(tokenizer)
        self.syntax = OutputSyntax.detect(tokenizer)
        self.infill = InfillFormat.detect(tokenizer)
        self._tokenizer = tokenizer
        self._num_logits = num_logits
        self._compiler = GrammarCompiler(tokenizer, self.syntax, num_logits)

    async def render(self, prompt: ChatPrompt, reasoning: bool | None) -> str:
        """The text that the chat template makes of the messages."""
        return await asyncio.to_thread(self.template.render, prompt, reasoning)

    async def encode(self, prompt: Prompt, *, output: OutputFormat | None, reasoning: bool | None) -> Encoded:
        """Raises InvalidRequest and its kin."""
        match prompt:
            case ChatPrompt():
                return await self._encode_chat(prompt, output, reasoning)
            case TextPrompt():
                ids = await self._text_ids(prompt)
                return await self._plain(ids, self._text_of(prompt, ids), self._tokenizer.eos_token_ids, output)
            case InfillPrompt():
                if self.infill is None:
                    raise no_infill()
                ids = await self.infill.encode(prompt)
                end_ids = self._tokenizer.eos_token_ids | self.infill.stop_token_ids
                return await self._plain(ids, self._tokenizer.decode(ids), end_ids, output)
            case _:
                assert_never(prompt)

    async def encode_input(self, text_or_ids: str | Sequence[int]) -> Encoded:
        """Of a request for embeddings: nothing is generated from it."""
        prompt = TextPrompt((text_or_ids if isinstance(text_or_ids, str) else tuple(text_or_ids),))
        return await self._plain(await self._text_ids(prompt), "", frozenset(), None)

    async def _encode_chat(self, prompt: ChatPrompt, output: OutputFormat | None, reasoning: bool | None) -> Encoded:
        text = await self.render(prompt, reasoning)
        tokenizer = self._tokenizer
        return Encoded(
            ids=np.array(await tokenizer.encode_async(text, add_special=False), np.int32),
            text=text,
            end_ids=tokenizer.eos_token_ids,
            skip_ids=tokenizer.special_ids - self.syntax.marker_ids,
            parser=lambda index: self.syntax.parser(index, prompt, text),
            grammar=await self._compiler.compile_chat(prompt, output, text),
        )

    async def _plain(self, ids: list[int], text: str, end_ids: frozenset[int], output: OutputFormat | None) -> Encoded:
        return Encoded(
            ids=np.array(ids, np.int32),
            text=text,
            end_ids=end_ids,
            skip_ids=self._tokenizer.special_ids,
            parser=PlainParser,
            grammar=None if output is None else await self._compiler.compile(output),
        )

    async def _text_ids(self, prompt: TextPrompt) -> list[int]:
        """Only the first part gets a BOS, and only where it is text (llama.cpp tools/server/server-common.cpp,
        `tokenize_mixed`)."""
        ids: list[int] = []
        for place, part in enumerate(prompt.parts):
            if isinstance(part, str):
                ids += await self._tokenizer.encode_async(part, add_special=prompt.add_special and place == 0)
            else:
                ids += map(self._checked, part)
        return ids or [self._text_begin]

    @property
    def _text_begin(self) -> int:
        """What an empty prompt means: the beginning of a text, or the end of another one."""
        tokenizer = self._tokenizer
        if tokenizer.bos_id is not None:
            return tokenizer.bos_id
        if not tokenizer.eos_token_ids:
            raise InvalidField("prompt", "must not be empty", "")
        return min(tokenizer.eos_token_ids)  # the end of a text is older than the ends of turns

    def _text_of(self, prompt: TextPrompt, ids: list[int]) -> str:
        """As the client wrote it, where it wrote text; special tokens in front are written out."""
        match prompt.parts:
            case (str(text),) if text:
                has_bos = self._tokenizer.adds_bos and prompt.add_special
                return self._tokenizer.bos_token + text if has_bos else text
            case _:
                return self._tokenizer.decode([each for each in ids if each < self._tokenizer.vocab_size])

    def _checked(self, token_id: int) -> int:
        if not 0 <= token_id < self._num_logits:
            raise InvalidField("prompt", f"no token has the id {token_id}", token_id)
        return token_id
