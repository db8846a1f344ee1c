"""The items of a response's output, each with the events that it grows by.

An event is its type and its fields; who sends it adds the sequence number. Wire facts: openai-python
`types/responses/response_*_event.py`, `response_output_item.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from adapters.openai.response_input import seal

Payload: TypeAlias = dict[str, Any]


@dataclass(slots=True)
class OutputItem(ABC):
    """pieces: what it consists of, so far."""

    id: str
    output_index: int
    pieces: list[str] = field(default_factory=list, kw_only=True)

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @abstractmethod
    def value(self, status: str) -> dict[str, Any]:
        """The item itself. status: `in_progress`, `completed` or `incomplete`."""

    @abstractmethod
    def opening(self) -> Iterator[Payload]:
        """The events before the first delta."""

    @abstractmethod
    def delta(self, text: str) -> Payload:
        """The event of one delta. Doesn't keep it."""

    @abstractmethod
    def closing(self, status: str) -> Iterator[Payload]:
        """The events after the last delta."""

    def _added(self, value: dict[str, Any]) -> Payload:
        return {"type": "response.output_item.added", "output_index": self.output_index, "item": value}

    def _done(self, status: str) -> Payload:
        return {"type": "response.output_item.done", "output_index": self.output_index, "item": self.value(status)}

    def _event(self, kind: str, **fields: Any) -> Payload:
        return {"type": f"response.{kind}", "item_id": self.id, "output_index": self.output_index} | fields


@dataclass(slots=True)
class MessageItem(OutputItem):
    logprobs: list[dict[str, Any]] = field(default_factory=list)

    def value(self, status: str) -> dict[str, Any]:
        return self._value(status, [self._part(self.text, self.logprobs)])

    def opening(self) -> Iterator[Payload]:
        yield self._added(self._value("in_progress", []))
        yield self._event("content_part.added", content_index=0, part=self._part("", []))

    def delta(self, text: str) -> Payload:
        return self._event("output_text.delta", content_index=0, delta=text, logprobs=[])

    def closing(self, status: str) -> Iterator[Payload]:
        text, logprobs = self.text, self.logprobs
        yield self._event("output_text.done", content_index=0, text=text, logprobs=logprobs)
        yield self._event("content_part.done", content_index=0, part=self._part(text, logprobs))
        yield self._done(status)

    def _value(self, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
        return {"id": self.id, "type": "message", "status": status, "role": "assistant", "content": content}

    def _part(self, text: str, logprobs: list[dict[str, Any]]) -> dict[str, Any]:
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs}


@dataclass(slots=True)
class ReasoningItem(OutputItem):
    """Thought as it is, as open models' servers send it (vLLM). is_sealed: `encrypted_content` was asked for."""

    is_sealed: bool = False

    def value(self, status: str) -> dict[str, Any]:
        return self._value(status, content=[self._part(self.text)], sealed=seal(self.text) if self.is_sealed else None)

    def opening(self) -> Iterator[Payload]:
        yield self._added(self._value("in_progress", content=[]))
        yield self._event("content_part.added", content_index=0, part=self._part(""))

    def delta(self, text: str) -> Payload:
        return self._event("reasoning_text.delta", content_index=0, delta=text)

    def closing(self, status: str) -> Iterator[Payload]:
        yield self._event("reasoning_text.done", content_index=0, text=self.text)
        yield self._event("content_part.done", content_index=0, part=self._part(self.text))
        yield self._done(status)

    def _value(
        self,
        status: str,
        *,
        content: list[dict[str, Any]] | None = None,
        summary: list[dict[str, Any]] | None = None,
        sealed: str | None = None,
    ) -> dict[str, Any]:
        return {
            "id": self.id,
            "type": "reasoning",
            "status": status,
            "summary": summary or [],
            "content": content,
            "encrypted_content": sealed,
        }

    def _part(self, text: str) -> dict[str, Any]:
        return {"type": "reasoning_text", "text": text}


@dataclass(slots=True)
class SummaryItem(ReasoningItem):
    """Thought for a client that asked for a summary and looks nowhere else: the whole of it is the summary."""

    def value(self, status: str) -> dict[str, Any]:
        return self._value(status, summary=[self._part(self.text)], sealed=seal(self.text) if self.is_sealed else None)

    def opening(self) -> Iterator[Payload]:
        yield self._added(self._value("in_progress"))
        yield self._event("reasoning_summary_part.added", summary_index=0, part=self._part(""))

    def delta(self, text: str) -> Payload:
        return self._event("reasoning_summary_text.delta", summary_index=0, delta=text)

    def closing(self, status: str) -> Iterator[Payload]:
        yield self._event("reasoning_summary_text.done", summary_index=0, text=self.text)
        yield self._event("reasoning_summary_part.done", summary_index=0, part=self._part(self.text))
        yield self._done(status)

    def _part(self, text: str) -> dict[str, Any]:
        return {"type": "summary_text", "text": text}


@dataclass(slots=True)
class CallItem(OutputItem):
    """pieces: of the arguments."""

    call_id: str
    name: str

    def value(self, status: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "type": "function_call",
            "status": status,
            "call_id": self.call_id,
            "name": self.name,
            "arguments": self.text,
        }

    def opening(self) -> Iterator[Payload]:
        yield self._added(self.value("in_progress"))

    def delta(self, text: str) -> Payload:
        return self._event("function_call_arguments.delta", delta=text)

    def closing(self, status: str) -> Iterator[Payload]:
        yield self._event("function_call_arguments.done", name=self.name, arguments=self.text)
        yield self._done(status)
