"""What comes back from a model: the one stream of events that every answer is rendered from.

For each choice: one `Started`, then any of `Text`, `Reasoning`, `ToolCallStarted`, `ToolCallArguments`, then exactly
one `Finished`; or, for the whole request, one DragomanError raised from the stream. `fold` turns a whole stream into
the `Completion` that a non-streamed answer is rendered from, so both kinds of answer share one path.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from typing_extensions import assert_never

FinishReason = Literal["end", "stop_string", "length", "tool_calls"]
"""end: the model ended its answer; stop_string: a stop string or stop token of the request came up."""


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """logprob: natural logarithm, of the distribution before temperature and truncation.

    text may be incomplete UTF-8 (then it holds U+FFFD); `bytes` is exact.
    """

    id: int
    text: str
    bytes: bytes
    logprob: float
    top: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """cached: how many of the prompt's tokens came from the prefix cache. reasoning: how many of the completion's
    tokens were thought."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds. load: waiting for the model to be loaded; queue: waiting for a place in the batch."""

    load_s: float = 0.0
    queue_s: float = 0.0
    prefill_s: float = 0.0
    decode_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Started:
    """The backend has taken the request: from here on an error can only end a stream.

    prompt_text and prompt_token_ids: what the model really gets, with template and special tokens; empty where a
    backend doesn't know. slot: the place in the batch, or -1.
    """

    index: int
    prompt_tokens: int
    prompt_text: str = ""
    prompt_token_ids: tuple[int, ...] = ()
    prompt_logprobs: tuple[TokenLogprob | None, ...] = ()
    slot: int = -1


@dataclass(frozen=True, slots=True)
class Prefilled:
    """How far the prompt is evaluated. total includes cached."""

    index: int
    total: int
    cached: int
    processed: int
    elapsed_s: float


@dataclass(frozen=True, slots=True)
class Text:
    """Never ends inside a code point, never holds a part of a stop string. token_ids: the tokens that this text
    stands for; they may precede it by a few events when bytes are held back."""

    index: int
    text: str
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class Reasoning:
    index: int
    text: str
    token_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ToolCallStarted:
    """call: 0, 1, … within the choice."""

    index: int
    call: int
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class ToolCallArguments:
    """The next piece of the call's arguments, which are JSON text once complete."""

    index: int
    call: int
    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """stop_text: the stop string that was met, for `stop_string`."""

    index: int
    reason: FinishReason
    usage: Usage = Usage()
    timings: Timings = Timings()
    stop_text: str | None = None


Event: TypeAlias = Started | Prefilled | Text | Reasoning | ToolCallStarted | ToolCallArguments | Finished
EventStream: TypeAlias = AsyncGenerator[Sequence[Event], None]
"""Batches of events: all that was ready when the reader came, so that it can write them at once. Closing cancels."""


@dataclass(slots=True)
class CompletedCall:
    id: str
    name: str
    arguments: str = ""


@dataclass(slots=True)
class CompletedChoice:
    index: int
    started: Started
    text: str = ""
    reasoning: str = ""
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    tool_calls: list[CompletedCall] = field(default_factory=list)
    finished: Finished | None = None

    @property
    def end(self) -> Finished:
        """Raises RuntimeError while the choice is unfinished: a backend broke its promise."""
        if self.finished is None:
            raise RuntimeError(f"choice {self.index} ended without Finished")
        return self.finished


@dataclass(slots=True)
class Completion:
    """Everything that a stream said. n: choices per prompt, whose prompt tokens are counted once."""

    n: int
    choices: dict[int, CompletedChoice] = field(default_factory=dict)

    def add(self, event: Event) -> None:
        match event:
            case Started():
                self.choices[event.index] = CompletedChoice(event.index, event)
            case Prefilled():
                pass
            case Text():
                choice = self.choices[event.index]
                choice.text += event.text
                choice.token_ids += event.token_ids
                choice.logprobs += event.logprobs
            case Reasoning():
                choice = self.choices[event.index]
                choice.reasoning += event.text
                choice.token_ids += event.token_ids
            case ToolCallStarted():
                self.choices[event.index].tool_calls.append(CompletedCall(event.id, event.name))
            case ToolCallArguments():
                self.choices[event.index].tool_calls[event.call].arguments += event.text
            case Finished():
                self.choices[event.index].finished = event
            case _:
                assert_never(event)

    @property
    def ordered(self) -> list[CompletedChoice]:
        return [self.choices[index] for index in sorted(self.choices)]

    @property
    def usage(self) -> Usage:
        """The sum over choices; a prompt that several choices share counts once."""
        ends = {choice.index: choice.end.usage for choice in self.ordered}
        prompts = [usage for index, usage in ends.items() if index % self.n == 0]
        return Usage(
            prompt_tokens=sum(usage.prompt_tokens for usage in prompts),
            cached_tokens=sum(usage.cached_tokens for usage in prompts),
            completion_tokens=sum(usage.completion_tokens for usage in ends.values()),
            reasoning_tokens=sum(usage.reasoning_tokens for usage in ends.values()),
        )


async def fold(events: EventStream, n: int) -> Completion:
    completion = Completion(n)
    async for batch in events:
        for event in batch:
            completion.add(event)
    return completion
