"""What a scripted backend says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from backends.events import FinishReason, Reasoning, Text, ToolCallArguments, ToolCallStarted
from tests.fakes.tokenizer import TOKENIZER

Piece: TypeAlias = Text | Reasoning | ToolCallStarted | ToolCallArguments


@dataclass(frozen=True, slots=True)
class Script:
    """What is answered to every request: pieces (of choice 0; other choices say the same), and how it ends."""

    pieces: tuple[Piece, ...]
    reason: FinishReason = "end"
    stop_text: str | None = None


def said(*texts: str) -> tuple[Text, ...]:
    """One Text event for each."""
    return tuple(Text(0, text, tuple(TOKENIZER.encode(text))) for text in texts)


def thought(*texts: str) -> tuple[Reasoning, ...]:
    return tuple(Reasoning(0, text, tuple(TOKENIZER.encode(text))) for text in texts)


def called(name: str, *arguments: str, call: int = 0) -> tuple[ToolCallStarted | ToolCallArguments, ...]:
    """A tool call whose arguments come in these pieces; its id is `call_<number>`."""
    pieces = (ToolCallArguments(0, call, text) for text in arguments)
    return ToolCallStarted(0, call, f"call_{call}", name), *pieces


HELLO = Script(said("Hel", "lo", " world"))
EMOJI = Script(said("a", "👋", "é", "z"))
"""The emoji is four tokens and one event."""
CUT = Script(said("one", " two"), reason="length")
STOPPED = Script(said("one", " two"), reason="stop_string", stop_text=" three")
THINKING = Script((*thought("Let me", " see."), *said("For", "ty-two.")))
WEATHER = Script(called("get_weather", '{"city":', '"Pa', 'ris"}'), reason="tool_calls")
TWO_CALLS = Script((*said("Looking."), *called("f", '{"x":1}'), *called("g", "{}", call=1)), reason="tool_calls")
