"""Chat messages and tools as OpenAI writes them → the one request model's. Knows no route and no answer.

Shared by every server that speaks OpenAI's chat format. A server with other roles or parts subclasses WireMessage and
declares `messages` with its own class.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from adapters.body import Fields
from adapters.framing import to_json
from backends.errors import InvalidField, Unsupported
from backends.request import FunctionCall, Image, Message, NamedTool, Role, Tool, ToolChoice


def _as_parts(value: Any) -> Any:
    """A plain string is one part of text. Done before validation, so that an error names the part at fault."""
    match value:
        case str():
            return [{"type": "text", "text": value}]
        case None | list() | tuple():
            return value
        case _:
            raise PydanticCustomError("content", "expected a string or an array of content parts")


def _as_json_text(value: Any) -> Any:
    """Some clients send a call's arguments as an object, as Ollama's format has them."""
    return to_json(value).decode() if isinstance(value, dict) else value


class ImageUrl(Fields):
    url: str


class ContentPart(Fields):
    """text, input_text and output_text hold text; image_url and input_image a picture; refusal a refusal."""

    type: str = "text"
    text: str = ""
    refusal: str = ""
    image_url: ImageUrl | str | None = None


Content = Annotated[tuple[ContentPart, ...], BeforeValidator(_as_parts)]


class WireFunction(Fields):
    name: str
    arguments: Annotated[str, BeforeValidator(_as_json_text)] = ""


class WireToolCall(Fields):
    function: WireFunction
    id: str = ""


class WireMessage(Fields):
    """content: a string, parts, null or missing. `function_call` and the role `function` are the API before tools."""

    roles: ClassVar[Mapping[str, Role]] = {
        "system": "system",
        "developer": "system",
        "user": "user",
        "assistant": "assistant",
        "tool": "tool",
        "function": "tool",
    }

    role: str
    content: Content = ()
    name: str | None = None
    tool_calls: tuple[WireToolCall, ...] = ()
    tool_call_id: str | None = None
    function_call: WireFunction | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None

    def to_message(self, param: str) -> Message:
        """param: where this message stands in the body, for errors. Raises InvalidField or Unsupported."""
        if self.role not in self.roles:
            supported = ", ".join(f"'{role}'" for role in self.roles)
            raise InvalidField(f"{param}.role", f"'{self.role}' is none of {supported}", self.role)
        text, images = read_parts(self.content, f"{param}.content")
        return Message(
            role=self.roles[self.role],
            content=text,
            images=images,
            reasoning=self.reasoning_content or self.reasoning,
            tool_calls=self._calls(),
            tool_call_id=self.tool_call_id,
            name=self.name,
        )

    def _calls(self) -> tuple[FunctionCall, ...]:
        calls = [FunctionCall(call.id, call.function.name, call.function.arguments) for call in self.tool_calls]
        if self.function_call is not None:
            calls.append(FunctionCall("", self.function_call.name, self.function_call.arguments))
        return tuple(calls)


def to_messages(messages: Sequence[WireMessage]) -> tuple[Message, ...]:
    return tuple(message.to_message(f"messages.{index}") for index, message in enumerate(messages))


def read_parts(parts: Sequence[ContentPart], param: str) -> tuple[str, tuple[Image, ...]]:
    """Texts are joined by a line break, as vLLM (entrypoints/chat_utils.py) and llama.cpp (common/chat.cpp) do."""
    texts: list[str] = []
    images: list[Image] = []
    for index, part in enumerate(parts):
        match part.type:
            case "text" | "input_text" | "output_text":
                texts.append(part.text)
            case "refusal":
                texts.append(part.refusal)
            case "image_url" | "input_image":
                images.append(_read_image(part, f"{param}.{index}.image_url"))
            case kind:
                raise Unsupported(
                    f"content parts of type '{kind}' are not supported", feature=kind, param=f"{param}.{index}.type"
                )
    return "\n".join(texts), tuple(images)


def _read_image(part: ContentPart, param: str) -> Image:
    url = part.image_url.url if isinstance(part.image_url, ImageUrl) else part.image_url
    if not url:
        raise InvalidField(param, "expected a URL or a data URL")
    if not url.startswith("data:"):
        return Image(url=url)
    head, _, data = url.removeprefix("data:").partition(",")
    try:
        return Image(media_type=head.partition(";")[0] or None, data=base64.b64decode(data, validate=True))
    except binascii.Error as error:
        raise InvalidField(param, f"the data is not base64: {error}") from None


class WireFunctionSpec(Fields):
    name: str
    description: str = ""
    parameters: dict[str, Any] = Field(default_factory=dict)

    def to_tool(self) -> Tool:
        return Tool(self.name, self.description, self.parameters)


class WireTool(Fields):
    type: str = "function"
    function: WireFunctionSpec | None = None

    def to_tool(self, param: str) -> Tool:
        if self.type != "function":
            raise Unsupported(f"tools of type '{self.type}' are not supported", feature="tools", param=f"{param}.type")
        if self.function is None:
            raise InvalidField(f"{param}.function", "a function tool needs its function")
        return self.function.to_tool()


def to_tools(tools: Sequence[WireTool]) -> tuple[Tool, ...]:
    return tuple(tool.to_tool(f"tools.{index}") for index, tool in enumerate(tools))


def to_tool_choice(choice: str | Mapping[str, Any] | None, tools: Sequence[Tool], param: str) -> ToolChoice:
    """The words, `{"type":"function","function":{"name":…}}`, Responses' flat form, or the old `{"name":…}`.

    Raises InvalidField for a choice that the tools don't allow.
    """
    match choice:
        case None | "auto":
            return "auto"
        case "none":
            return "none"
        case "required" | "any":
            if not tools:
                raise InvalidField(param, "is only allowed when 'tools' are specified", choice)
            return "required"
        case {"function": {"name": str(name)}} | {"name": str(name)}:
            if all(tool.name != name for tool in tools):
                raise InvalidField(param, f"there is no tool '{name}' among the tools", choice)
            return NamedTool(name)
        case _:
            raise InvalidField(param, "expected 'none', 'auto', 'required' or a function's name", choice)


def choose_tools(
    choice: str | Mapping[str, Any] | None, tools: tuple[Tool, ...], param: str
) -> tuple[tuple[Tool, ...], ToolChoice]:
    """The tools that may be used, and the choice among them. `allowed_tools` narrows both."""
    if isinstance(choice, Mapping) and choice.get("type") == "allowed_tools":
        allowed = choice.get("allowed_tools", choice)
        names = {(tool.get("function") or tool).get("name") for tool in allowed.get("tools", ())}
        tools = tuple(tool for tool in tools if tool.name in names)
        choice = allowed.get("mode", "auto")
    return tools, to_tool_choice(choice, tools, param)
