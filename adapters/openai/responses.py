"""How a response is answered, whole or as a stream of named events.

A stream is: created, in_progress, then each item from `output_item.added` to `output_item.done` with its deltas
between, then completed, incomplete or failed; numbered throughout, without `[DONE]`. Wire facts: openai-python
`types/responses/response.py` and `response_*_event.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, Protocol, TypeAlias

from typing_extensions import assert_never

from adapters import framing
from adapters.base import Call, KeepAlive, Reply, Served
from adapters.framing import HOLE, Template
from adapters.openai.exchange import STREAM_HEADERS
from adapters.openai.logprobs import chat_logprobs
from adapters.openai.response_output import CallItem, MessageItem, OutputItem, Payload, ReasoningItem, SummaryItem
from backends.errors import DragomanError, InvalidRequest
from backends.events import (
    CompletedChoice,
    Completion,
    Event,
    Finished,
    Prefilled,
    Reasoning,
    Started,
    Text,
    ToolCallArguments,
    ToolCallStarted,
    Usage,
)
from backends.request import GenerateRequest

Keep: TypeAlias = Callable[[dict[str, Any]], None]


class Terms(Protocol):
    """What a request says of its answer. wants_summary: thought is looked for in summaries; wants_sealed_reasoning: and
    in `encrypted_content`."""

    @property
    def model(self) -> str | None: ...

    @property
    def stream(self) -> bool: ...

    @property
    def wants_summary(self) -> bool: ...

    @property
    def wants_sealed_reasoning(self) -> bool: ...

    def echoed(self) -> dict[str, Any]:
        """What a response repeats of its request."""
        ...


class ResponsesExchange:
    """keep: is told the finished response, so that a later request can go on from it."""

    content_type: ClassVar[str] = framing.SSE

    def __init__(self, call: Call, served: Served, request: GenerateRequest, body: Terms, keep: Keep) -> None:
        self.request = request
        self.served = served
        self.streams = body.stream
        self.headers: Mapping[str, str] = STREAM_HEADERS
        self.keep_alive: KeepAlive | None = None
        self._id = call.id
        self._created = int(call.received)
        self._body = body
        self._keep = keep
        self._items: list[OutputItem] = []
        self._template: Template | None = None  # of the last item's deltas
        self._sequence_number = 0

    def frames(self, event: Event) -> Iterable[bytes]:
        match event:
            case Text():
                return self._on_text(event)
            case Reasoning():
                return self._on_reasoning(event)
            case Started():
                return self._on_started()
            case ToolCallStarted():
                return self._on_call(event)
            case ToolCallArguments():
                return self._delta(event.text)
            case Finished():
                return self._on_finished(event)
            case Prefilled():
                return ()
            case _:
                assert_never(event)

    def tail(self) -> Iterable[bytes]:
        return ()

    def failure(self, error: DragomanError) -> Iterable[bytes]:
        code = "invalid_prompt" if isinstance(error, InvalidRequest) else "server_error"
        failed = self._response("failed") | {"error": {"code": code, "message": error.message}}
        yield self._frame({"type": "response.failed", "response": failed})

    def reply(self, completion: Completion) -> Reply:
        (choice,) = completion.ordered
        self._fill(choice)
        return Reply(framing.to_json(self._finish(choice.end)))

    # the stream

    def _on_started(self) -> Iterator[bytes]:
        yield self._frame({"type": "response.created", "response": self._response("in_progress")})
        yield self._frame({"type": "response.in_progress", "response": self._response("in_progress")})

    def _on_text(self, event: Text) -> Iterator[bytes]:
        if not self._items or not isinstance(self._items[-1], MessageItem):
            yield from self._begin(self._new_message())
        message = self._items[-1]
        if event.logprobs and isinstance(message, MessageItem):
            logprobs = chat_logprobs(event.logprobs)["content"]
            message.pieces.append(event.text)
            message.logprobs += logprobs
            yield self._frame(message.delta(event.text) | {"logprobs": logprobs})
        else:
            yield from self._delta(event.text)

    def _on_reasoning(self, event: Reasoning) -> Iterator[bytes]:
        if not self._items or not isinstance(self._items[-1], ReasoningItem):
            yield from self._begin(self._new_reasoning())
        yield from self._delta(event.text)

    def _on_call(self, event: ToolCallStarted) -> Iterator[bytes]:
        yield from self._begin(self._new_call(event.id, event.name))

    def _on_finished(self, event: Finished) -> Iterator[bytes]:
        """An answer without a word is an empty message."""
        if not self._items:
            yield from self._begin(self._new_message())
        status = self.status(event)
        for payload in self._items[-1].closing(status):
            yield self._frame(payload)
        yield self._frame({"type": f"response.{status}", "response": self._finish(event)})

    def _begin(self, item: OutputItem) -> Iterator[bytes]:
        """Items come one after the other: a new one completes the last."""
        if self._items:
            for payload in self._items[-1].closing("completed"):
                yield self._frame(payload)
        self._items.append(item)
        self._template = None
        for payload in item.opening():
            yield self._frame(payload)

    def _delta(self, text: str) -> Iterator[bytes]:
        item = self._items[-1]
        item.pieces.append(text)
        if self._template is None:
            self._template = _numbered(item.delta(HOLE))
        yield self._template.fill(text) + b"%d}\n\n" % self._next_number()

    def _frame(self, payload: Payload) -> bytes:
        return framing.named_sse(payload["type"], payload | {"sequence_number": self._next_number()})

    def _next_number(self) -> int:
        number = self._sequence_number
        self._sequence_number += 1
        return number

    # items

    def _fill(self, choice: CompletedChoice) -> None:
        """What a stream would have said, in its usual order."""
        if choice.reasoning:
            self._add(self._new_reasoning(), choice.reasoning)
        if choice.text or not (choice.reasoning or choice.tool_calls):
            message = self._new_message()
            message.logprobs = chat_logprobs(choice.logprobs)["content"]
            self._add(message, choice.text)
        for call in choice.tool_calls:
            self._add(self._new_call(call.id, call.name), call.arguments)

    def _add(self, item: OutputItem, text: str) -> None:
        item.pieces.append(text)
        self._items.append(item)

    def _new_message(self) -> MessageItem:
        return MessageItem(*self._place("msg"))

    def _new_reasoning(self) -> ReasoningItem:
        kind = SummaryItem if self._body.wants_summary else ReasoningItem
        return kind(*self._place("rs"), is_sealed=self._body.wants_sealed_reasoning)

    def _new_call(self, call_id: str, name: str) -> CallItem:
        return CallItem(*self._place("fc"), call_id, name)

    def _place(self, prefix: str) -> tuple[str, int]:
        """Id and output_index of the next item."""
        return f"{prefix}_{self._id}_{len(self._items)}", len(self._items)

    # the response

    def _response(self, status: str) -> dict[str, Any]:
        return {
            "id": f"resp_{self._id}",
            "object": "response",
            "created_at": self._created,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "model": self._body.model or self.served.name,
            "output": [],
            "usage": None,
            **self._body.echoed(),
        }

    def _finish(self, finished: Finished) -> dict[str, Any]:
        status = self.status(finished)
        *others, last = self._items
        response = self._response(status) | {
            "output": [*(item.value("completed") for item in others), last.value(status)],
            "usage": usage_object(finished.usage),
        }
        if status == "incomplete":
            response["incomplete_details"] = {"reason": "max_output_tokens"}
        self._keep(response)
        return response

    def status(self, finished: Finished) -> str:
        return "incomplete" if finished.reason == "length" else "completed"


def usage_object(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
    }


def _numbered(payload: Payload) -> Template:
    """A frame that lacks only its text and, at the end, its number."""
    open_object = framing.to_json(payload)[:-1] + b',"sequence_number":'
    return Template(b"event: " + payload["type"].encode() + b"\ndata: " + open_object)
