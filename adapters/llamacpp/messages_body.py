"""A request of /v1/messages as one of /v1/chat/completions, as llama.cpp converts it.

Source: llama.cpp tools/server/server-chat.cpp, server_chat_convert_anthropic_to_oai.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from adapters.anthropic.messages import without_stamp
from adapters.framing import to_json
from adapters.llamacpp.errors import Refusal

Json: TypeAlias = dict[str, Any]

DEFAULT_LENGTH = 4096
CONVERTED = frozenset({
    "system", "messages", "tools", "tool_choice", "stop_sequences", "max_tokens", "temperature", "top_p", "top_k",
    "stream", "chat_template_kwargs", "thinking", "model",
})  # fmt: skip
"""What is honoured; all else of such a request is ignored."""

_PASSED = ("temperature", "top_p", "top_k", "stream", "chat_template_kwargs")


def to_chat_body(body: Mapping[str, Any]) -> Json:
    """Raises Refusal."""
    if "messages" not in body:
        raise Refusal("'messages' is required", "server_error")
    messages = body["messages"] if isinstance(body["messages"], list) else []
    converted = [each for message in messages for each in _convert(message if isinstance(message, dict) else {})]
    chat: Json = {"model": body.get("model"), "messages": [*_system(body.get("system")), *converted]}
    chat |= {key: body[key] for key in _PASSED if key in body}
    chat["max_tokens"] = body.get("max_tokens", DEFAULT_LENGTH)
    if "stop_sequences" in body:
        chat["stop"] = body["stop_sequences"]
    if isinstance(body.get("tools"), list):
        chat["tools"] = [_tool(tool) for tool in body["tools"] if isinstance(tool, dict)]
    match body.get("tool_choice"):
        case {"type": "any"}:
            chat["tool_choice"] = "required"
        case {"type": "tool", "name": name}:  # the server takes it for `any`
            chat["tool_choice"] = {"function": {"name": name}}
        case {"type": "none"}:
            chat["tool_choice"] = "none"
    match body.get("thinking"):
        case {"type": "disabled"}:
            chat["thinking_budget_tokens"] = 0
    return chat


def _system(value: object) -> list[Json]:
    if isinstance(value, str):
        return [{"role": "system", "content": without_stamp(value)}]
    if not isinstance(value, list):
        return []
    texts = [without_stamp(str(part["text"])) for block in value for part in _parts(block) if part["type"] == "text"]
    return [{"role": "system", "content": "".join(texts)}]


def _convert(message: Json) -> Iterable[Json]:
    """One message of blocks is a chat's message, with its calls, and one more for each result of a tool."""
    content = message.get("content")
    if not isinstance(content, list):
        return () if content is None and message.get("role") == "assistant" else (message,)
    calls = [_call(block) for block in content if _kind(block) == "tool_use"]
    parts = [part for block in content for part in _parts(block)]
    thought = "".join(str(block.get("thinking", "")) for block in content if _kind(block) == "thinking")
    converted: Json = {"role": message.get("role", ""), "content": parts or ""}
    if calls:
        converted["tool_calls"] = calls
    if thought:
        converted["reasoning_content"] = thought
    results = [_result(block) for block in content if _kind(block) == "tool_result"]
    return (converted, *results) if parts or calls or thought else results


def _kind(block: object) -> object:
    return block.get("type") if isinstance(block, dict) else None


def _parts(block: object) -> Iterable[Json]:
    match block:
        case {"type": "text", "text": str(text)}:
            yield {"type": "text", "text": text}
        case {"type": "image", "source": {"type": "base64", **source}}:
            url = f"data:{source.get('media_type', 'image/jpeg')};base64,{source.get('data', '')}"
            yield {"type": "image_url", "image_url": {"url": url}}
        case {"type": "image", "source": {"type": "url", "url": str(url)}}:
            yield {"type": "image_url", "image_url": {"url": url}}


def _call(block: Json) -> Json:
    arguments = to_json(block.get("input", {})).decode()
    function = {"name": block.get("name", ""), "arguments": arguments}
    return {"id": block.get("id", ""), "type": "function", "function": function}


def _result(block: Json) -> Json:
    """Text alone is joined to a string; with images it stays in parts."""
    result: Json = {"role": "tool", "tool_call_id": block.get("tool_use_id", ""), "content": ""}
    match block.get("content"):
        case str(text):
            result["content"] = text
        case list(blocks):
            parts = [part for each in blocks for part in _parts(each)]
            is_text = all(part["type"] == "text" for part in parts)
            result["content"] = "".join(part["text"] for part in parts) if is_text else parts
    return result


def _tool(tool: Json) -> Json:
    function = {
        "name": tool.get("name", ""),
        "description": tool.get("description", ""),
        "parameters": tool.get("input_schema", {}),
    }
    return {"type": "function", "function": function}
