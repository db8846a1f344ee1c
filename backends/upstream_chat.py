"""A chat as OpenAI's API writes it, for the server's own template and parsers. Pure."""

from __future__ import annotations

import base64
from typing import Any

from backends.accent import Accent
from backends.errors import Unsupported
from backends.request import ChatPrompt, FunctionCall, Image, Message, NamedTool, Tool, ToolChoice


def chat_body(prompt: ChatPrompt, reasoning: bool | None, accent: Accent) -> dict[str, Any]:
    # Qwen3 and its kin ask for `enable_thinking`, DeepSeek V3.1 and Granite for `thinking`.
    thinking = {} if reasoning is None else {"enable_thinking": reasoning, "thinking": reasoning}
    body: dict[str, Any] = {"messages": [_message(message) for message in prompt.messages]}
    if prompt.tools:
        body["tools"] = [_tool(tool) for tool in prompt.tools]
        body["tool_choice"] = _tool_choice(prompt.tool_choice)
        if not prompt.parallel_tool_calls:
            body["parallel_tool_calls"] = False
    if accent.has_template_args:
        if args := {**thinking, **prompt.template_args}:
            body["chat_template_kwargs"] = args
        if prompt.continue_final:
            body |= {"continue_final_message": True, "add_generation_prompt": False}
        elif not prompt.add_generation_prompt:
            body["add_generation_prompt"] = False
        return body
    if not prompt.continue_final and not prompt.add_generation_prompt:
        raise Unsupported("this model's server always asks for an answer", feature="add_generation_prompt")
    effort = prompt.template_args.get("reasoning_effort", "none" if reasoning is False else None)
    return body if effort is None else {**body, "reasoning_effort": effort}


def _message(message: Message) -> dict[str, Any]:
    fields: dict[str, Any] = {"role": message.role, "content": _content(message)}
    if message.reasoning is not None:
        fields |= {"reasoning": message.reasoning, "reasoning_content": message.reasoning}
    if message.tool_calls:
        fields["tool_calls"] = [_tool_call(call) for call in message.tool_calls]
    if message.tool_call_id is not None:
        fields["tool_call_id"] = message.tool_call_id
    if message.name is not None:
        fields["name"] = message.name
    return fields


def _content(message: Message) -> str | list[dict[str, Any]]:
    if not message.images:
        return message.content
    text = [{"type": "text", "text": message.content}] if message.content else []
    return [*text, *({"type": "image_url", "image_url": {"url": _url(image)}} for image in message.images)]


def _url(image: Image) -> str:
    if image.data is None:
        return image.url or ""
    return f"data:{image.media_type or 'image/png'};base64,{base64.b64encode(image.data).decode()}"


def _tool_call(call: FunctionCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _tool(tool: Tool) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}


def _tool_choice(choice: ToolChoice) -> str | dict[str, Any]:
    return {"type": "function", "function": {"name": choice.name}} if isinstance(choice, NamedTool) else choice
