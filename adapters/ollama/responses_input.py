"""The input items of Ollama's /v1/responses → its native messages. Knows no other field of the request.

Wire facts: ollama openai/responses.go (unmarshalResponsesInputItem, unmarshalResponsesContent, FromResponsesRequest).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from adapters.ollama.errors import Rejected
from adapters.ollama.json import quoted
from adapters.ollama.messages import WireFunction, WireMessage, WireToolCall
from adapters.ollama.openai_messages import decode_image


def to_native(instructions: str, value: object) -> list[WireMessage]:
    """Raises Rejected."""
    conversation = _Conversation()
    if instructions:
        conversation.messages.append(WireMessage(role="system", content=instructions))
    match value:
        case str():
            if value:
                conversation.messages.append(WireMessage(role="user", content=value))
        case list():
            for index, item in enumerate(value):
                conversation.add(item, index, _answered_call(value, index))
        case _:
            raise Rejected("input must be a string or array", param="input")
    return conversation.finished()


def _answered_call(items: Sequence[Any], index: int) -> str:
    """The id of the call whose output comes right after this item, or nothing."""
    match items[index + 1 : index + 2]:
        case [{"type": "function_call_output", "call_id": str(call_id)}]:
            return call_id
        case _:
            return ""


class _Conversation:
    """thinking: thought that waits for the answer that it belongs to."""

    def __init__(self) -> None:
        self.messages: list[WireMessage] = []
        self._thinking = ""

    def add(self, item: Any, index: int, answered_call: str) -> None:
        if not isinstance(item, dict):
            raise Rejected(f"input[{index}]: it is no object", param="input")
        match item.get("type") or ("message" if item.get("role") else ""):
            case "message":
                self._add_message(item, index, answered_call)
            case "reasoning":
                self._thinking = _text(item, "encrypted_content")
            case "function_call":
                self._add_call(item)
            case "function_call_output":
                self._add_output(item, index)
            case "web_search_call":  # what was found is told by the message after it
                pass
            case "":
                raise Rejected(f"input[{index}]: input item missing required 'type' field", param="input")
            case kind:
                raise Rejected(f"input[{index}]: unknown input item type: {quoted(str(kind))}", param="input")

    def finished(self) -> list[WireMessage]:
        if self._thinking:
            self.messages.append(WireMessage(role="assistant", thinking=self._take_thinking()))
        return self.messages

    def _add_message(self, item: Mapping[str, Any], index: int, answered_call: str) -> None:
        """What is said between a call and its output belongs to the message with the call."""
        text, images = _content(item.get("content"), "content", index)
        message = WireMessage(role=_text(item, "role"), content=text, images=images)
        if message.role != "assistant":
            self.messages.append(message)
            return
        message.thinking = self._take_thinking()
        last = self.messages[-1] if self.messages else message
        if answered_call and any(call.id == answered_call for call in last.tool_calls):
            last.content = "\n".join(filter(None, (last.content, message.content)))
            last.thinking = message.thinking or last.thinking
        else:
            self.messages.append(message)

    def _add_call(self, item: Mapping[str, Any]) -> None:
        function = WireFunction(name=_text(item, "name"), arguments=_arguments(_text(item, "arguments")))
        if not self.messages or self.messages[-1].role != "assistant":
            self.messages.append(WireMessage(role="assistant"))
        last = self.messages[-1]
        last.tool_calls = [*last.tool_calls, WireToolCall(id=_text(item, "call_id"), function=function)]
        last.thinking = self._take_thinking() or last.thinking

    def _add_output(self, item: Mapping[str, Any], index: int) -> None:
        text, images = _content(item.get("output"), "output", index)
        self.messages.append(WireMessage(role="tool", content=text, images=images, tool_call_id=_text(item, "call_id")))

    def _take_thinking(self) -> str:
        thinking, self._thinking = self._thinking, ""
        return thinking


def _content(value: object, name: str, index: int) -> tuple[str, list[bytes]]:
    """Texts, joined as they are, and images."""
    match value:
        case None:
            return "", []
        case str():
            return value, []
        case list():
            place = f"input[{index}]: {name}"
            texts = [_text_of(part, f"{place}[{i}]") for i, part in enumerate(value)]
            return "".join(texts), [decode_image(part["image_url"]) for part in value if part.get("image_url")]
        case _:
            raise Rejected(f"input[{index}]: {name} must be a string or array", param="input")


def _text_of(part: Any, place: str) -> str:
    match part:
        case {"type": "input_text" | "output_text"}:
            return _text(part, "text")
        case {"type": "input_image"}:
            return ""
        case {"type": "input_file"}:
            raise Rejected("file inputs are not currently supported", param="input")
        case {"type": kind}:
            raise Rejected(f"{place}: unknown content type: {kind}", param="input")
        case _:
            raise Rejected(f"{place}: unknown content type: ", param="input")


def _arguments(text: str) -> dict[str, Any]:
    try:
        value = orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise Rejected("failed to parse function call arguments: they are no JSON object", param="input")
    return value


def _text(item: Mapping[str, Any], name: str) -> str:
    """Anything else than text counts as none."""
    value = item.get(name)
    return value if isinstance(value, str) else ""
