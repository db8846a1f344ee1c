"""A backend that says what it is told to, and fails when it is told to."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TypeAlias

from typing_extensions import assert_never

from backends.base import BackendState, Embeddings, ModelInfo, Slot
from backends.errors import DragomanError, NotReady, Unsupported
from backends.events import (
    Event,
    EventStream,
    Finished,
    Prefilled,
    Reasoning,
    Started,
    Text,
    Timings,
    TokenLogprob,
    ToolCallArguments,
    Usage,
)
from backends.request import ChatPrompt, EmbedRequest, GenerateRequest, InfillPrompt, Prompt, TextPrompt
from tests.fakes.scripts import HELLO, Piece, Script
from tests.fakes.tokenizer import BOS, EOS, TOKENIZER

INFO = ModelInfo(
    window=4096,
    path="/models/fake.safetensors",
    num_parameters=1_100_000_000,
    size_bytes=2_200_000_000,
    vocab_size=258,
    hidden_size=4,
    quantization="F16",
    digest="0123456789abcdef" * 4,
    modified_at=1_700_000_000.5,
    trained_window=2048,
    capabilities=frozenset({"completion", "insert", "tools", "thinking", "embedding"}),
    chat_template="{% for m in messages %}<|{{ m.role }}|>{{ m.content }}\n{% endfor %}<|assistant|>",
    bos_token=BOS,
    eos_token=EOS,
)
"""A model that can do everything; its `window` is counted in bytes, as ByteTokenizer does."""

TIMINGS = Timings(load_s=0.5, queue_s=0.25, prefill_s=0.125, decode_s=2.0)


@dataclass(frozen=True, slots=True)
class Fails:
    """The error is raised after so many events; 0: before the first."""

    error: DragomanError
    after: int = 0


@dataclass(frozen=True, slots=True)
class Hangs:
    """Nothing comes after so many events, until the reader gives up."""

    after: int = 0


Fault: TypeAlias = Fails | Hangs


class ScriptedBackend:
    """A backends.base.Backend. Notes every request, and in `num_closed` how many streams were left before their end.

    pace_s: seconds before each event; 0 still lets others run between two events.
    """

    def __init__(
        self,
        script: Script = HELLO,
        *,
        info: ModelInfo = INFO,
        state: BackendState = BackendState.READY,
        fault: Fault | None = None,
        cached_tokens: int = 0,
        pace_s: float = 0.0,
        slots: Sequence[Slot] = (Slot(0), Slot(1)),
        adapters: Mapping[str, ScriptedBackend] = MappingProxyType({}),
    ) -> None:
        self.script = script
        self.info = info
        self.state = state
        self.phase = state.value
        self.fault = fault
        self.cached_tokens = cached_tokens
        self.pace_s = pace_s
        self.slots = slots
        self.adapters = adapters
        self.log: Sequence[str] = ()
        self.loads_in_s: float | None = None
        self.requests: list[GenerateRequest] = []
        self.embedded: list[EmbedRequest] = []
        self.num_closed = 0

    @property
    def ready_in_s(self) -> float | None:
        return 0.0 if self.state is BackendState.READY else self.loads_in_s

    async def start(self) -> None:
        self.state = BackendState.READY

    async def stop(self) -> None:
        self.state = BackendState.STOPPED

    async def generate(self, request: GenerateRequest) -> EventStream:
        self._check_ready()
        self.requests.append(request)
        finished = False
        try:
            for count, event in enumerate(self._events(request)):
                await self._misbehave(count)
                await asyncio.sleep(self.pace_s)
                yield (event,)
            await self._misbehave(None)
            finished = True
        except DragomanError:
            finished = True
            raise
        finally:
            self.num_closed += not finished

    async def tokenize(self, text: str, *, add_special: bool, parse_special: bool = True) -> list[int]:
        self._check_ready()
        return TOKENIZER.encode(text, add_special=add_special)

    async def token_bytes(self, token_id: int) -> bytes:
        self._check_ready()
        return TOKENIZER.bytes_of(token_id)

    async def detokenize(self, token_ids: Sequence[int], *, skip_special: bool = False) -> str:
        self._check_ready()
        special = {TOKENIZER.bos_id, TOKENIZER.eos_id} if skip_special else ()
        return TOKENIZER.decode([token_id for token_id in token_ids if token_id not in special])

    async def render_chat(self, prompt: ChatPrompt) -> str:
        self._check_ready()
        return _rendered_chat(prompt)

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """One vector of length 1 for each input."""
        self._check_ready()
        if "embedding" not in self.info.capabilities:
            raise Unsupported("the model makes no embeddings", feature="embeddings")
        self.embedded.append(request)
        counts = tuple(len(item.encode()) if isinstance(item, str) else len(item) for item in request.inputs)
        return Embeddings(tuple((0.5, -0.5, 0.5, -0.5) for _ in request.inputs), counts, "mean")

    def _check_ready(self) -> None:
        if self.state is not BackendState.READY:
            raise NotReady(f"the fake backend is {self.state.value}")

    async def _misbehave(self, count: int | None) -> None:
        """count: of the events sent so far; None at the end, where a fault that hasn't come up yet does."""
        fault = self.fault
        if fault is None or (count is not None and count < fault.after):
            return
        match fault:
            case Fails():
                raise fault.error
            case Hangs():
                await asyncio.Event().wait()
            case _:
                assert_never(fault)

    def _events(self, request: GenerateRequest) -> list[Event]:
        choices = [self._choice(request, index) for index in range(request.num_choices)]
        rows = itertools.zip_longest(*choices)  # as a batch would: all choices at once
        return [event for row in rows for event in row if event is not None]

    def _choice(self, request: GenerateRequest, index: int) -> list[Event]:
        text = prompt_text(request.prompts[index // request.n])
        ids = tuple(TOKENIZER.encode(text, add_special=True))
        pieces = self._pieces(request)
        sent = [_with_logprobs(replace(piece, index=index), request) for piece in pieces]
        ended = Finished(index, self.script.reason, self._usage(pieces, len(ids)), TIMINGS, self.script.stop_text)
        started = Started(index, len(ids), text, ids, slot=index)
        return [started, Prefilled(index, len(ids), self.cached_tokens, len(ids), 0.125), *sent, ended]

    def _pieces(self, request: GenerateRequest) -> list[Piece]:
        """A model that is asked not to think doesn't."""
        return [x for x in self.script.pieces if request.reasoning is not False or not isinstance(x, Reasoning)]

    def _usage(self, pieces: Sequence[Piece], num_prompt_tokens: int) -> Usage:
        """Every piece of a call's arguments counts as one token."""
        num_thought = sum(len(piece.token_ids) for piece in pieces if isinstance(piece, Reasoning))
        num_texted = sum(len(piece.token_ids) for piece in pieces if isinstance(piece, Text))
        num_called = sum(isinstance(piece, ToolCallArguments) for piece in pieces)
        return Usage(
            prompt_tokens=num_prompt_tokens,
            completion_tokens=num_thought + num_texted + num_called,
            cached_tokens=self.cached_tokens,
            reasoning_tokens=num_thought,
        )


def prompt_text(prompt: Prompt) -> str:
    match prompt:
        case ChatPrompt():
            return _rendered_chat(prompt)
        case TextPrompt():
            return "".join(part if isinstance(part, str) else TOKENIZER.decode(part) for part in prompt.parts)
        case InfillPrompt():
            extra = "".join(f"<EXTRA>{name}\n{text}" for name, text in prompt.extra)
            return f"{extra}<PRE>{prompt.prefix}<SUF>{prompt.suffix}<MID>{prompt.start}"
        case _:
            assert_never(prompt)


def _rendered_chat(prompt: ChatPrompt) -> str:
    lines = [f"<|{message.role}|>{message.content}" for message in prompt.messages]
    asks = prompt.add_generation_prompt and not prompt.continue_final
    return "\n".join([*lines, "<|assistant|>"] if asks else lines)


def _with_logprobs(piece: Event, request: GenerateRequest) -> Event:
    if not isinstance(piece, Text) or request.top_logprobs is None:
        return piece
    return replace(piece, logprobs=tuple(logprob(token_id, request.top_logprobs) for token_id in piece.token_ids))


def logprob(token_id: int, num_top: int = 0) -> TokenLogprob:
    """The chosen token has -0.5, the next (by id) -1.5, and so on."""
    value = TOKENIZER.bytes_of(token_id)
    top = tuple(replace(logprob((token_id + step) % 256), logprob=-0.5 - step) for step in range(num_top))
    return TokenLogprob(token_id, value.decode("utf-8", "replace"), value, -0.5, top)
