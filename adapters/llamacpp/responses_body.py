"""A request of /v1/responses as one of /v1/chat/completions, as llama.cpp converts it.

Source: llama.cpp tools/server/server-chat.cpp, server_chat_convert_responses_to_chatcmpl.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from adapters.llamacpp.errors import Refusal

Json: TypeAlias = dict[str, Any]

_CONVERTED = frozenset({"input", "instructions", "max_output_tokens", "reasoning", "tools", "tool_choice", "text", "n"})


def to_chat_body(body: Mapping[str, Any]) -> Json:
    """Raises Refusal."""
    if "input" not in body:
        raise Refusal("'input' is required")
    if body.get("previous_response_id"):
        raise Refusal("llama.cpp does not support 'previous_response_id'.")
    chat = {key: value for key, value in body.items() if key not in _CONVERTED}
    chat["messages"] = [*_instructions(body), *_messages(body["input"])]
    if "tools" in body:
        chat["tools"] = _tools(body["tools"])
    if "max_output_tokens" in body:
        chat["max_tokens"] = body["max_output_tokens"]
    match body.get("reasoning"):
        case {"effort": effort}:
            chat["reasoning_effort"] = effort
    match body.get("tool_choice"):
        case {"name": name}:
            chat["tool_choice"] = {"function": {"name": name}}
        case choice if choice is not None:
            chat["tool_choice"] = choice
    match body.get("text"):
        case {"format": {"type": "json_schema", "schema": schema}}:
            chat["json_schema"] = schema
        case {"format": {"type": "json_object"}}:
            chat["json_schema"] = {}
    return chat


def _instructions(body: Mapping[str, Any]) -> list[Json]:
    instructions = body.get("instructions")
    return [{"role": "system", "content": instructions}] if isinstance(instructions, str) else []


def _messages(value: object) -> list[Json]:
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    if not isinstance(value, list):
        raise Refusal("'input' must be a string or array of objects")
    messages: list[Json] = []
    for item in value:
        _add(item if isinstance(item, dict) else {}, messages)
    return messages


def _add(item: Json, messages: list[Json]) -> None:
    """Consecutive items of the assistant's become one message."""
    match item:
        case {"role": "user" | "system" | "developer" as role, "content": str() | list() as content}:
            messages.append({"role": role, "content": _parts(content)})
        case {"role": "assistant", "type": "message"}:
            _last_assistant(messages)["content"] += _output_text(item.get("content"))
        case {"role": "assistant", "content": str() | list() as content}:
            _last_assistant(messages)["content"] += _output_text(content)
        case {"type": "function_call", "call_id": str(call_id), "name": str(name), "arguments": str(arguments)}:
            call = {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
            _last_assistant(messages).setdefault("tool_calls", []).append(call)
        case {"type": "function_call_output", "call_id": str(call_id), "output": str() | list() as output}:
            content = output if isinstance(output, str) else _tool_output(output)
            messages.append({"role": "tool", "tool_call_id": call_id, "content": content})
        case {"type": "reasoning", "summary": list()}:
            _last_assistant(messages)["reasoning_content"] = _thought(item)
        case _:
            raise Refusal("Cannot determine type of 'item'")


def _last_assistant(messages: list[Json]) -> Json:
    if not messages or messages[-1]["role"] != "assistant":
        messages.append({"role": "assistant", "content": ""})
    return messages[-1]


def _parts(content: str | list[Any]) -> str | list[Json]:
    return content if isinstance(content, str) else [_part(part) for part in content]


def _part(part: object) -> Json:
    match part:
        case {"type": "input_text", "text": text}:
            return {"type": "text", "text": text}
        case {"type": "input_text"}:
            raise Refusal("'Input text' requires 'text'")
        case {"type": "input_image", "image_url": url}:
            return {"type": "image_url", "image_url": {"url": url}}
        case {"type": "input_image"}:
            raise Refusal("'image_url' is required")
        case {"type": "input_file"}:
            raise Refusal("'input_file' is not supported by llamacpp at this moment")
        case _:
            raise Refusal("'type' must be one of 'input_text', 'input_image', or 'input_file'")


def _output_text(content: object) -> str:
    if isinstance(content, str):
        return content
    return "".join(_output_part(part) for part in content) if isinstance(content, list) else ""


def _output_part(part: object) -> str:
    match part:
        case {"type": "output_text" | "input_text", "text": str(text)} | {"type": "refusal", "refusal": str(text)}:
            return text
        case {"type": "output_text" | "input_text"}:
            raise Refusal("'Output text' requires 'text'")
        case {"type": "refusal"}:
            raise Refusal("'Refusal' requires 'refusal'")
        case _:
            raise Refusal("'type' must be one of 'output_text' or 'refusal'")


def _tool_output(parts: list[Any]) -> list[Json]:
    for part in parts:
        if not isinstance(part, dict) or "type" not in part:
            raise Refusal("Output of tool call missing 'type' field")
        if part["type"] not in {"input_text", "input_image"}:
            raise Refusal("Output of tool call should be 'Input text' or 'Input image'")
    return [_part(part) for part in parts]


def _thought(item: Json) -> str:
    match item.get("content"):
        case [{"text": str(text)}, *_]:
            return text
        case []:
            raise Refusal("item['content'] is empty")
        case list():
            raise Refusal("item['content']['text'] is not a string")
        case _:
            raise Refusal("item['content'] is not an array")


def _tools(tools: object) -> list[Json]:
    """Other kinds than functions (web search and the like) have no equivalent, and are passed over."""
    if not isinstance(tools, list):
        raise Refusal("'tools' must be an array of objects")
    functions = [tool for tool in tools if isinstance(tool, dict) and tool.get("type") == "function"]
    return [
        {"type": "function", "function": {key: value for key, value in tool.items() if key != "type"}}
        for tool in functions
    ]
