"""Splits an answer that thinks aloud into its reasoning and the rest, as it streams."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class Tags:
    """They stand around the reasoning."""

    opens: str
    closes: str

    def are_open(self, prompt_text: str, final_text: str = "") -> bool:
        """Does the prompt leave the model thinking? Many templates end in `<think>`, or in an empty pair of tags where
        the model is not to think. final_text: the message that is to be continued, which may hold the tags anywhere."""
        return prompt_text.rstrip().endswith(self.opens) or final_text.rfind(self.opens) > final_text.rfind(self.closes)


KNOWN_TAGS = (
    Tags("<think>", "</think>"),  # DeepSeek R1, Qwen3, GLM-4.5, Granite 3.3
    Tags("[THINK]", "[/THINK]"),  # Magistral
    Tags("<seed:think>", "</seed:think>"),  # Seed-OSS
)


def find_tags(template: str) -> Tags | None:
    """Those that a chat template writes or looks for; None for a model that doesn't think aloud."""
    return next((tags for tags in KNOWN_TAGS if tags.opens in template or tags.closes in template), None)


class _State(Enum):
    BEGINNING = "nothing but blanks so far"
    THINKING = "in the reasoning"
    ANSWERING = "after it"


class ReasoningParser:
    """Tags count at the beginning of an answer only; later ones are text. Blanks beside the tags are dropped."""

    def __init__(self, tags: Tags, *, is_thinking: bool) -> None:
        """is_thinking: the prompt has opened the tags already."""
        self._tags = tags
        self._state = _State.THINKING if is_thinking else _State.BEGINNING
        self._held = ""
        self._drops_blanks = is_thinking

    @property
    def is_thinking(self) -> bool:
        return self._state is _State.THINKING

    def feed(self, text: str) -> Iterator[tuple[bool, str]]:
        """Pieces of text; is each reasoning?"""
        text, self._held = self._held + text, ""
        if self._state is _State.BEGINNING:
            text = self._begin(text)
        if self._drops_blanks:
            text = text.lstrip()
        if self._state is _State.THINKING and text:
            thought, text = self._think(text)
            yield from [(True, thought)] if thought else []
        if self._state is _State.ANSWERING and text:
            self._drops_blanks = False
            yield False, text

    def finish(self) -> Iterator[tuple[bool, str]]:
        """What was held back; call once, at the end."""
        if self._held:
            yield self.is_thinking, self._held

    def _begin(self, text: str) -> str:
        """Leaves the beginning once it is known whether a tag opens; until then everything is held."""
        begun = text.lstrip()
        if begun.startswith(self._tags.opens):
            self._state, self._drops_blanks = _State.THINKING, True
            return begun.removeprefix(self._tags.opens)
        if self._tags.opens.startswith(begun):
            self._held = text
            return ""
        self._state = _State.ANSWERING
        return text

    def _think(self, text: str) -> tuple[str, str]:
        """The reasoning that is certain, and what comes after the closing tag."""
        thought, tag, rest = text.partition(self._tags.closes)
        if tag:
            self._state, self._drops_blanks = _State.ANSWERING, True
            return thought.rstrip(), rest.lstrip()
        thought = text[: len(text) - _num_begun(self._tags.closes, text)].rstrip()
        self._held = text[len(thought) :]
        self._drops_blanks = not thought and self._drops_blanks
        return thought, ""


def _num_begun(tag: str, text: str) -> int:
    """How many characters at the end of `text` may begin `tag`."""
    lengths = range(min(len(tag) - 1, len(text)), 0, -1)
    return next((length for length in lengths if text.endswith(tag[:length])), 0)
