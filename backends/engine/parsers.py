"""A model's raw text becomes events: reasoning, text and tool calls.

Owns the order of things: reasoning comes first, then text in which calls may stand. How they are written is known to
`reasoning` and `tool_formats`. One parser serves one choice, in the engine's thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from typing_extensions import assert_never

from backends.engine import tool_formats
from backends.engine.detokenizer import Piece
from backends.engine.reasoning import ReasoningParser, Tags, find_tags
from backends.engine.tokenizer import Tokenizer
from backends.engine.tool_formats import ToolFormat
from backends.engine.tool_parsers import CallArguments, CallStart, Part, ToolCallParser
from backends.events import Reasoning, Text, TokenLogprob, ToolCallArguments, ToolCallStarted
from backends.request import ChatPrompt

OutputEvent = Text | Reasoning | ToolCallStarted | ToolCallArguments


class OutputParser(Protocol):
    """num_calls: tool calls so far (more than 0: the answer's finish reason is `tool_calls`)."""

    num_calls: int
    num_reasoning_tokens: int

    def feed(self, piece: Piece, logprobs: Sequence[TokenLogprob] = ()) -> list[OutputEvent]:
        """logprobs: of the piece's tokens, or none."""
        ...

    def finish(self) -> list[OutputEvent]:
        """What was held back; call once, at the end."""
        ...


class PlainParser:
    """All of it is text."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.num_calls = 0
        self.num_reasoning_tokens = 0

    def feed(self, piece: Piece, logprobs: Sequence[TokenLogprob] = ()) -> list[OutputEvent]:
        if not piece.text and not piece.token_ids:
            return []
        return [Text(self.index, piece.text, piece.token_ids, tuple(logprobs))]

    def finish(self) -> list[OutputEvent]:
        return []


class ChatParser:
    """Tokens go with the text or reasoning that comes of them; those of tool calls go nowhere."""

    def __init__(
        self, index: int, reasoning: ReasoningParser | None, calls: ToolCallParser | None, tool_format: ToolFormat
    ) -> None:
        self.index = index
        self.num_calls = 0
        self.num_reasoning_tokens = 0
        self._reasoning = reasoning
        self._calls = calls
        self._tool_format = tool_format
        self._token_ids: tuple[int, ...] = ()
        self._logprobs: tuple[TokenLogprob, ...] = ()

    def feed(self, piece: Piece, logprobs: Sequence[TokenLogprob] = ()) -> list[OutputEvent]:
        self._token_ids += piece.token_ids
        self._logprobs += tuple(logprobs)
        if self._reasoning is None:
            return self._answer(piece.text)
        if self._reasoning.is_thinking:
            self.num_reasoning_tokens += len(piece.token_ids)
        return self._split(self._reasoning.feed(piece.text))

    def finish(self) -> list[OutputEvent]:
        events = self._split(self._reasoning.finish()) if self._reasoning else []
        if self._calls:
            events += map(self._event, self._calls.finish())
        if self._token_ids and not self.num_calls:
            events.append(self._text(""))
        return events

    def _split(self, pieces: Iterable[tuple[bool, str]]) -> list[OutputEvent]:
        events: list[OutputEvent] = []
        for is_reasoning, text in pieces:
            if is_reasoning:
                events.append(Reasoning(self.index, text, self._take_tokens()[0]))
            else:
                events += self._answer(text)
        return events

    def _answer(self, text: str) -> list[OutputEvent]:
        if not text:
            return []
        if self._calls is None:
            return [self._text(text)]
        was_in_call = self._calls.is_in_call
        events = [self._event(part) for part in self._calls.feed(text)]
        if was_in_call or self._calls.is_in_call:
            self._take_tokens()
        return events

    def _event(self, part: Part) -> OutputEvent:
        match part:
            case str():
                return self._text(part)
            case CallStart():
                self.num_calls += 1
                return ToolCallStarted(self.index, self.num_calls - 1, self._tool_format.new_id(), part.name)
            case CallArguments():
                return ToolCallArguments(self.index, self.num_calls - 1, part.text)
            case _:
                assert_never(part)

    def _text(self, text: str) -> Text:
        return Text(self.index, text, *self._take_tokens())

    def _take_tokens(self) -> tuple[tuple[int, ...], tuple[TokenLogprob, ...]]:
        taken = self._token_ids, self._logprobs
        self._token_ids, self._logprobs = (), ()
        return taken


@dataclass(frozen=True, slots=True)
class OutputSyntax:
    """How a model writes reasoning and tool calls; found once, from its template and vocabulary.

    tags: None for a model that doesn't think aloud. marker_ids: tokens that the detokenizer must not skip in a chat.
    """

    tags: Tags | None
    tool_format: ToolFormat
    marker_ids: frozenset[int]

    @classmethod
    def detect(cls, tokenizer: Tokenizer) -> OutputSyntax:
        template = "".join(tokenizer.chat_templates.values())
        tags = find_tags(template)
        tool_format = tool_formats.detect(template)
        markers = (*tool_format.markers, *((tags.opens, tags.closes) if tags else ()))
        found = {tokenizer.token_id(marker) for marker in markers}
        return cls(tags, tool_format, frozenset(token_id for token_id in found if token_id is not None))

    def parser(self, index: int, prompt: ChatPrompt, prompt_text: str) -> OutputParser:
        """For one choice of a chat. prompt_text: as the template rendered it (it may open the reasoning)."""
        reasoning = calls = None
        if self.tags:
            reasoning = ReasoningParser(self.tags, is_thinking=self.is_thinking(prompt, prompt_text))
        if prompt.tools and prompt.tool_choice != "none":
            calls = ToolCallParser(self.tool_format, frozenset(tool.name for tool in prompt.tools))
        if reasoning is None and calls is None:
            return PlainParser(index)
        return ChatParser(index, reasoning, calls, self.tool_format)

    def is_thinking(self, prompt: ChatPrompt, prompt_text: str) -> bool:
        """Does the answer begin in the middle of the reasoning?"""
        final_text = prompt.messages[-1].content if prompt.continue_final else ""
        return self.tags is not None and self.tags.are_open(prompt_text, final_text)
