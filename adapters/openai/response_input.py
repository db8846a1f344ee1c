"""Responses' input items → chat messages, and the same items as the API lists them. Knows no answer.

What the assistant did comes as single items (reasoning, message, calls); one turn of them is one message of a chat.
Wire facts: openai-python `types/responses/response_input_item.py`, `response_item.py`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator

from adapters.body import Fields
from adapters.openai.messages import Content, ContentPart, WireMessage, read_parts
from backends.errors import InvalidField, Unsupported
from backends.request import FunctionCall, Message


class TextPart(Fields):
    text: str = ""


class InputItem(Fields):
    """Every kind of item in one class: `type` says which fields count. A message may leave its type out."""

    type: str = "message"
    id: str | None = None
    role: str | None = None
    content: Content = ()
    status: str | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str = ""
    output: Content = ()
    summary: tuple[TextPart, ...] = ()
    encrypted_content: str | None = None

    def thought(self) -> str:
        """The raw thought if it is there, else its summary."""
        texts = [part.text for part in self.content] or [part.text for part in self.summary]
        return "\n".join(texts) or unseal(self.encrypted_content or "")


def _as_items(value: Any) -> Any:
    return [{"role": "user", "content": value}] if isinstance(value, str) else value


Input: TypeAlias = Annotated[tuple[InputItem, ...], BeforeValidator(_as_items)]
Lookup: TypeAlias = Callable[[str], InputItem | None]
"""An item that was sent or received earlier, by its id."""


def seal(thought: str) -> str:
    """`encrypted_content`: a client keeps it unread and sends it back. Nothing here is secret, so base64 will do."""
    return base64.b64encode(thought.encode("utf-8", "replace")).decode()


def unseal(sealed: str) -> str:
    """Empty for what another server sealed."""
    try:
        return base64.b64decode(sealed, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def to_messages(items: Iterable[InputItem], lookup: Lookup) -> tuple[Message, ...]:
    """Raises InvalidField or Unsupported for an item that can't be part of a chat."""
    conversation = _Conversation(lookup)
    for index, item in enumerate(items):
        conversation.add(item, f"input.{index}")
    return conversation.finished()


@dataclass(slots=True)
class _Turn:
    """What the assistant did between two other messages."""

    thoughts: list[str] = field(default_factory=list)
    text: str | None = None
    calls: list[FunctionCall] = field(default_factory=list)

    @property
    def has_answer(self) -> bool:
        return self.text is not None or bool(self.calls)

    def to_message(self) -> Message:
        reasoning = "\n".join(self.thoughts) or None
        return Message("assistant", self.text or "", reasoning=reasoning, tool_calls=tuple(self.calls))


class _Conversation:
    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._messages: list[Message] = []
        self._turn = _Turn()

    def add(self, item: InputItem, param: str) -> None:
        match item.type:
            case "message":
                self._add_message(item, param)
            case "reasoning":
                self._continue_turn()
                self._turn.thoughts.append(item.thought())
            case "function_call":
                self._turn.calls.append(FunctionCall(item.call_id or "", _name(item, param), item.arguments))
            case "function_call_output":
                text, images = read_parts(item.output, f"{param}.output")
                self._interrupt(Message("tool", text, images, tool_call_id=item.call_id, name=item.name))
            case "item_reference":
                self.add(self._referenced(item, param), param)
            case kind:
                raise Unsupported(
                    f"input items of type '{kind}' are not supported", feature=kind, param=f"{param}.type"
                )

    def finished(self) -> tuple[Message, ...]:
        self._close_turn()
        return tuple(self._messages)

    def _add_message(self, item: InputItem, param: str) -> None:
        message = WireMessage(role=item.role or "user", content=item.content).to_message(param)
        if message.role == "assistant":
            self._continue_turn()
            self._turn.text = message.content
        else:
            self._interrupt(message)

    def _continue_turn(self) -> None:
        """Thought and text come before calls; after an answer they begin another turn."""
        if self._turn.has_answer:
            self._close_turn()

    def _interrupt(self, message: Message) -> None:
        self._close_turn()
        self._messages.append(message)

    def _close_turn(self) -> None:
        if self._turn.has_answer or self._turn.thoughts:
            self._messages.append(self._turn.to_message())
        self._turn = _Turn()

    def _referenced(self, item: InputItem, param: str) -> InputItem:
        found = self._lookup(item.id or "")
        if found is None:
            raise InvalidField(f"{param}.id", f"no item '{item.id}' is remembered", item.id)
        return found


def _name(item: InputItem, param: str) -> str:
    if not item.name:
        raise InvalidField(f"{param}.name", "a function call needs the function's name")
    return item.name


def listed(item: InputItem, item_id: str) -> dict[str, Any]:
    """The item as `GET /v1/responses/{id}/input_items` gives it: whole, with an id."""
    shape = item.model_dump(exclude_unset=True, by_alias=True) | {"id": item.id or item_id, "type": item.type}
    if item.type == "message":
        shape |= {"role": item.role or "user", "content": [_listed_part(part, item.role) for part in item.content]}
    if item.type == "function_call_output":
        shape["output"] = "\n".join(part.text for part in item.output)
    if item.type != "reasoning":
        shape["status"] = item.status or "completed"
    return shape


def _listed_part(part: ContentPart, role: str | None) -> dict[str, Any]:
    if part.type in {"text", "input_text", "output_text"}:
        if role == "assistant":
            return {"type": "output_text", "text": part.text, "annotations": []}
        return {"type": "input_text", "text": part.text}
    return {"detail": "auto"} | part.model_dump(exclude_unset=True, by_alias=True)
