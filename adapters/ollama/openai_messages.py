"""Chat messages as Ollama's OpenAI layer reads them → its native ones.

Each part of a message's content becomes a message of its own. Wire facts: ollama openai/openai.go (FromChatRequest,
FromCompletionToolCall, decodeImageURL, nameFromToolCallID).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import orjson

from adapters.ollama.body import GoFields, GoInt, from_base64
from adapters.ollama.errors import Rejected
from adapters.ollama.messages import WireFunction, WireMessage, WireToolCall
from adapters.ollama.openai import go_type_name
from backends.errors import InvalidRequest

_DATA_URL = re.compile(r"data:(?:image/(?:jpeg|jpg|png|webp))?;base64,")


class OpenAIFunction(GoFields):
    go_struct: ClassVar[str] = ""
    go_package: ClassVar[str] = "openai"

    name: str = ""
    arguments: str = ""


class OpenAIToolCall(GoFields):
    go_struct: ClassVar[str] = "ToolCall"
    go_package: ClassVar[str] = "openai"

    id: str = ""
    index: GoInt = 0
    type: str = ""
    function: OpenAIFunction = OpenAIFunction()

    def to_native(self) -> WireToolCall:
        try:
            arguments = orjson.loads(self.function.arguments)
        except orjson.JSONDecodeError:
            arguments = None
        if not isinstance(arguments, dict):
            raise Rejected("invalid tool call arguments", param="messages")
        return WireToolCall(id=self.id, function=WireFunction(name=self.function.name, arguments=arguments))


class OpenAIMessage(GoFields):
    go_struct: ClassVar[str] = "Message"
    go_package: ClassVar[str] = "openai"

    role: str = ""
    content: Any = None
    reasoning: str = ""
    tool_calls: list[OpenAIToolCall] | None = None
    name: str = ""
    tool_call_id: str = ""


def to_native(messages: Sequence[OpenAIMessage]) -> list[WireMessage]:
    """Raises Rejected. What belongs to a whole message goes to the last of its parts."""
    natives: list[WireMessage] = []
    for message in messages:
        parts = [WireMessage(role=message.role, **fields) for fields in _parts(message)]
        for last in parts[-1:]:
            last.thinking = message.reasoning
            last.tool_calls = [call.to_native() for call in message.tool_calls or ()]
            last.tool_name = _tool_name(message, messages)
            last.tool_call_id = message.tool_call_id
        natives += parts
    return natives


def _parts(message: OpenAIMessage) -> Iterator[dict[str, Any]]:
    """The fields that each part sets. Content may be missing where there are calls."""
    match message.content:
        case str():
            yield {"content": message.content}
        case list():
            yield from map(_part, message.content)
        case None if message.tool_calls is not None:
            yield {}
        case content:
            raise Rejected(f"invalid message content type: {go_type_name(content)}", param="messages")


def _part(part: object) -> dict[str, Any]:
    match part:
        case {"type": "text", "text": str(text)}:
            return {"content": text}
        case {"type": "image_url", "image_url": {"url": str(url)} | str(url)}:
            return {"images": [decode_image(url)]}
        case {"type": "input_audio", **_others}:
            raise Rejected("audio is not supported by this server", param="messages")
        case _:
            raise Rejected("invalid message format", param="messages")


def decode_image(url: str) -> bytes:
    """Of a data URL. Raises Rejected."""
    if url.startswith(("http://", "https://")):
        raise Rejected("image URLs are not currently supported, please use base64 encoded data instead")
    head = _DATA_URL.match(url)
    try:
        data = from_base64(url[head.end() :]) if head else None
    except InvalidRequest:
        data = None
    if not isinstance(data, bytes):
        raise Rejected("invalid image input", param="messages")
    return data


def _tool_name(message: OpenAIMessage, messages: Sequence[OpenAIMessage]) -> str:
    """Of a tool's answer: its own, or that of the last call with its id."""
    if message.role.lower() != "tool":
        return ""
    calls = [call for other in messages for call in other.tool_calls or ()]
    named = (call.function.name for call in reversed(calls) if call.id == message.tool_call_id)
    return message.name or (next(named, "") if message.tool_call_id else "")
