"""What llama.cpp's server says of a chat's messages and tools that it can't read: in its words, in its order.

First the server's own checks, 400; then those of its chat library, 500. Source: llama.cpp
tools/server/server-common.cpp (oaicompat_chat_params_parse) and common/chat.cpp (common_chat_msgs_parse_oaicompat,
common_chat_tools_parse_oaicompat, func_args_not_string).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from adapters.framing import to_json
from adapters.llamacpp.errors import Refusal, missing_key, type_name, wrong_type
from adapters.llamacpp.syntax import syntax_error
from backends.errors import Unsupported

_MEDIA: Mapping[str, str] = {"input_audio": "input_audio", "input_video": "input_video", "video_url": "input_video"}


def check_messages(body: Mapping[str, Any], *, has_vision: bool) -> None:
    """Raises Refusal, or Unsupported for media that the model can't take."""
    if "messages" not in body:
        raise Refusal("'messages' is required")
    if not isinstance(body["messages"], list):
        raise Refusal("Expected 'messages' to be an array")
    for message in body["messages"]:
        _check_content(message if isinstance(message, dict) else {}, has_vision)


def _check_content(message: Mapping[str, Any], has_vision: bool) -> None:
    if message.get("role") != "assistant" and "content" not in message:
        raise Refusal("All non-assistant messages must contain 'content'")
    if "content" not in message and "tool_calls" not in message:
        raise Refusal("Assistant message must contain either 'content' or 'tool_calls'!")
    content = message.get("content")
    if not isinstance(content, str | list | None):
        raise Refusal("Expected 'content' to be a string or an array")
    check_parts(content if isinstance(content, list) else (), has_vision=has_vision)


def check_parts(parts: Iterable[Any], *, has_vision: bool) -> None:
    """Raises Refusal, or Unsupported."""
    for part in parts:
        match part.get("type") if isinstance(part, dict) else None:
            case "text":
                pass
            case "image_url":
                if not has_vision:
                    raise Unsupported("the model sees no images", feature="images", param="messages")
            case "input_audio" | "input_video" | "video_url" as kind:
                raise Unsupported("no backend takes it", feature=_MEDIA[kind], param="messages")
            case _:
                raise Refusal("unsupported content[].type")


def parse_messages(messages: Iterable[Mapping[str, Any]]) -> None:
    """Raises Refusal, with the status 500."""
    try:
        for message in messages:
            _parse_message(message)
    except Refusal as refusal:
        raise Refusal(f"Failed to parse messages: {refusal.message}", "server_error") from None
    for message in messages:
        for call in _elements(message.get("tool_calls")):
            _check_arguments(call["function"]["arguments"])


def _parse_message(message: Mapping[str, Any]) -> None:
    if "role" not in message:
        raise Refusal(f"Missing 'role' in message: {_dump(message)}")
    _check_text(message["role"])
    content = message.get("content")
    for part in content if isinstance(content, list) else ():
        if part["type"] == "text":
            _check_text(_at(part, "text"))
    for call in _elements(message.get("tool_calls")):
        _parse_call(call)


def _parse_call(call: Any) -> None:
    keys = call if isinstance(call, dict) else {}
    if "type" not in keys:
        raise Refusal(f"Missing tool call type: {_dump(call)}")
    if keys["type"] != "function":
        raise Refusal(f"Unsupported tool call type: {_dump(call)}")
    if "function" not in keys:
        raise Refusal(f"Missing tool call function: {_dump(call)}")
    function = keys["function"]
    if not isinstance(function, dict) or "name" not in function:
        raise Refusal(f"Missing tool call name: {_dump(call)}")
    _check_text(function["name"])
    _at(function, "arguments")


def _check_arguments(arguments: object) -> None:
    """No text at all is no arguments, whatever the server says: OpenAI's clients send it."""
    if not isinstance(arguments, str) or not arguments.strip():
        return
    try:
        orjson.loads(arguments)
    except orjson.JSONDecodeError:
        fault = syntax_error(arguments.encode("utf-8", "replace"))
        raise Refusal(f"Failed to parse tool call arguments as JSON: {fault}", "server_error") from None


def check_tools(tools: object) -> None:
    """Raises Refusal, with the status 500."""
    try:
        if not isinstance(tools, list):
            raise Refusal(f"Expected 'tools' to be an array, got {_dump(tools)}")
        for tool in tools:
            _parse_tool(tool)
    except Refusal as refusal:
        pretty = orjson.dumps(tools, option=orjson.OPT_INDENT_2).decode()
        raise Refusal(f"Failed to parse tools: {refusal.message}; tools = {pretty}", "server_error") from None


def _parse_tool(tool: Any) -> None:
    keys = tool if isinstance(tool, dict) else {}
    if "type" not in keys:
        raise Refusal(f"Missing tool type: {_dump(tool)}")
    if keys["type"] != "function":
        raise Refusal(f"Unsupported tool type: {_dump(tool)}")
    if "function" not in keys:
        raise Refusal(f"Missing tool function: {_dump(tool)}")
    _check_text(_at(keys["function"], "name"))


def _elements(value: Any) -> list[Any]:
    """What a loop over a JSON value meets: its items, or itself."""
    match value:
        case None:
            return []
        case list():
            return value
        case dict():
            return [*value.values()]
        case _:
            return [value]


def _at(value: Any, key: str) -> Any:
    if not isinstance(value, dict):
        raise Refusal(f"[json.exception.type_error.304] cannot use at() with {type_name(value)}")
    if key not in value:
        raise missing_key(key)
    return value[key]


def _check_text(value: object) -> None:
    if not isinstance(value, str):
        raise wrong_type("string", value)


def _dump(value: object) -> str:
    return to_json(value).decode()
