"""Messages, tools and pictures as Ollama's chat has them → the one request model's. Knows no route.

Wire facts: ollama api/types.go (Message, ToolCall, Tool), llm/llama_server.go (llamaServerChatMessage).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field

from adapters.framing import to_json
from adapters.ollama.body import Base64, GoFields, GoInt, GoType
from backends.errors import InvalidRequest
from backends.request import ChatPrompt, FunctionCall, Image, Message, Role, Tool

_ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}


def _read_arguments(value: Any) -> Any:
    if isinstance(value, dict):
        return value
    # the words of the library that keeps the arguments in order (buger/jsonparser, under wk8/go-ordered-map)
    raise InvalidRequest("Value looks like object, but can't find closing '}' symbol", param="messages")


class WireFunction(GoFields):
    go_struct: ClassVar[str] = "ToolCallFunction"

    index: GoInt = 0
    name: str = ""
    arguments: Annotated[dict[str, Any], BeforeValidator(_read_arguments)] = Field(default_factory=dict)


class WireToolCall(GoFields):
    go_struct: ClassVar[str] = "ToolCall"

    id: str = ""
    function: WireFunction = WireFunction()

    def to_call(self) -> FunctionCall:
        return FunctionCall(self.id, self.function.name, to_json(self.function.arguments).decode())


class WireMessage(GoFields):
    go_struct: ClassVar[str] = "Message"
    own_decoder: ClassVar[bool] = True

    role: str = ""
    content: str = ""
    thinking: str = ""
    images: list[Base64] = Field(default_factory=list)
    tool_calls: list[WireToolCall] = Field(default_factory=list)
    tool_name: str = ""
    tool_call_id: str = ""

    def to_message(self) -> Message:
        """Raises InvalidRequest for a role that no template knows."""
        role = _ROLES.get(self.role.lower())
        if role is None:
            roles = ", ".join(_ROLES)
            raise InvalidRequest(f"invalid role: '{self.role}', must be one of [{roles}]", param="messages")
        return Message(
            role=role,
            content=self.content,
            images=to_images(self.images),
            reasoning=self.thinking or None,
            tool_calls=tuple(call.to_call() for call in self.tool_calls),
            tool_call_id=self.tool_call_id or None,
            name=self.tool_name or None,
        )


class WireToolFunction(GoFields):
    go_struct: ClassVar[str] = "ToolFunction"

    name: str = ""
    description: str = ""
    parameters: Annotated[dict[str, Any], GoType("api.ToolFunctionParameters")] = Field(default_factory=dict)


class WireTool(GoFields):
    go_struct: ClassVar[str] = "Tool"

    type: str = ""
    function: WireToolFunction = WireToolFunction()

    def to_tool(self) -> Tool:
        return Tool(self.function.name, self.function.description, self.function.parameters)


def to_images(images: Sequence[bytes]) -> tuple[Image, ...]:
    return tuple(Image(data=data) for data in images)


def to_chat_prompt(
    messages: Sequence[Message], tools: Sequence[Tool] = (), template_args: Mapping[str, Any] | None = None
) -> ChatPrompt:
    """An assistant's message at the end is continued, as llama-server does for Ollama."""
    last = messages[-1]
    continues = last.role == "assistant" and not last.tool_calls
    return ChatPrompt(
        messages=tuple(messages),
        tools=tuple(tools),
        continue_final=continues,
        add_generation_prompt=not continues,
        template_args=dict(template_args or {}),
    )


def think_args(think: bool | str | None) -> dict[str, str]:
    """A level of thought is the template's affair."""
    return {"reasoning_effort": think} if isinstance(think, str) else {}
