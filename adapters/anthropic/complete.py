"""POST /v1/complete: text completions, all that clients of 2023 know.

The prompt is a conversation written out; it becomes the chat that it stands for, as Anthropic does it today. A stream
is events named `completion`, each with its piece, the last with the reason. Wire facts: anthropic-sdk-python v0.3
`types/completion.py`, `types/completion_create_params.py`, `_streaming.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from pydantic import Field
from typing_extensions import assert_never

from adapters import framing
from adapters.anthropic.errors import error_object, request_headers
from adapters.base import Call, KeepAlive, Reply, Served
from adapters.body import Body
from adapters.openai.exchange import STREAM_HEADERS
from backends.errors import DragomanError
from backends.events import (
    Completion,
    Event,
    Finished,
    Prefilled,
    Reasoning,
    Started,
    Text,
    ToolCallArguments,
    ToolCallStarted,
)
from backends.request import TEMPERATURE_FIRST, ChatPrompt, GenerateRequest, Message, Prompt, Sampling, TextPrompt

_HUMAN = "\n\nHuman:"
_TURN = re.compile(r"\n\n(Human|Assistant):")
_PING_AFTER_S = 15.0


class CompleteBody(Body):
    tolerated: ClassVar[frozenset[str]] = frozenset({"metadata"})

    model: str
    prompt: str
    max_tokens_to_sample: int = Field(ge=1)
    stop_sequences: tuple[str, ...] = ()
    stream: bool = False
    temperature: float | None = Field(default=None, ge=0, le=1)
    top_p: float | None = Field(default=None, ge=0, le=1)
    top_k: int | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)

    def request(self, request_id: str) -> GenerateRequest:
        return GenerateRequest(
            id=request_id,
            prompts=(conversation(self.prompt),),
            max_tokens=self.max_tokens_to_sample,
            stop=(_HUMAN, *(text for text in self.stop_sequences if text and text != _HUMAN)),
            sampling=Sampling(
                temperature=self.temperature, top_p=self.top_p, top_k=self.top_k, order=TEMPERATURE_FIRST
            ),
            reasoning=False,
        )


def conversation(prompt: str) -> Prompt:
    """Text without turns stays text. What stands before the first is the system prompt; what an assistant has begun to
    say, the model goes on with."""
    system, *turns = _TURN.split(prompt)
    if not turns:
        return TextPrompt((prompt,))
    said = [
        Message("user" if who == "Human" else "assistant", text.strip())
        for who, text in zip(turns[::2], turns[1::2], strict=True)
    ]
    is_begun = said[-1].role == "assistant" and bool(said[-1].content)
    if said[-1].role == "assistant" and not is_begun:
        said.pop()
    first = [Message("system", system.strip())] if system.strip() else []
    return ChatPrompt((*first, *said), continue_final=is_begun, add_generation_prompt=not is_begun)


class CompleteExchange:
    content_type: ClassVar[str] = framing.SSE

    def __init__(self, call: Call, served: Served, body: CompleteBody) -> None:
        self.request = body.request(call.id)
        self.served = served
        self.streams = body.stream
        self.headers: Mapping[str, str] = {**STREAM_HEADERS, **request_headers(call)}
        self.keep_alive: KeepAlive | None = KeepAlive(
            _PING_AFTER_S, lambda: framing.named_sse("ping", {"type": "ping"})
        )
        self._model = body.model
        self._call = call

    def frames(self, event: Event) -> Iterable[bytes]:
        match event:
            case Text():
                return (self._frame(event.text),) if event.text else ()
            case Finished():
                return (self._frame("", event),)
            case Started() | Prefilled() | Reasoning() | ToolCallStarted() | ToolCallArguments():
                return ()
            case _:
                assert_never(event)

    def tail(self) -> Iterable[bytes]:
        return ()

    def failure(self, error: DragomanError) -> Iterable[bytes]:
        return (framing.named_sse("error", error_object(error, self._call)),)

    def reply(self, completion: Completion) -> Reply:
        (choice,) = completion.ordered
        return Reply(framing.to_json(self._shape(choice.text, choice.end)), headers=request_headers(self._call))

    def _frame(self, text: str, finished: Finished | None = None) -> bytes:
        return framing.named_sse("completion", self._shape(text, finished))

    def _shape(self, text: str, finished: Finished | None) -> dict[str, Any]:
        """A model that ends by itself has met the stop sequence that is built into it."""
        reason = None if finished is None else "max_tokens" if finished.reason == "length" else "stop_sequence"
        return {
            "type": "completion",
            "id": f"compl_{self._call.id[:24]}",
            "completion": text,
            "stop_reason": reason,
            "model": self._model,
            "stop": (finished.stop_text or _HUMAN) if finished and reason == "stop_sequence" else None,
            "log_id": f"compl_{self._call.id[:24]}",
        }


async def complete(call: Call) -> CompleteExchange:
    body = CompleteBody.parse(call)
    return CompleteExchange(call, call.models.resolve(body.model), body)
