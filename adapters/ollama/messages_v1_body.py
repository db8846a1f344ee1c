"""The request of POST /v1/messages on Ollama's listener → a native chat request. Knows no answer.

Wire facts: ollama anthropic/anthropic.go (MessagesRequest, FromMessagesRequest, convertMessage, convertTool),
middleware/anthropic.go (AnthropicMessagesMiddleware).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field

from adapters.anthropic.messages import without_stamp
from adapters.base import Call, Served
from adapters.ollama.body import GoFields, GoInt, from_base64
from adapters.ollama.chat import ChatBody
from adapters.ollama.errors import Rejected
from adapters.ollama.json import quoted
from adapters.ollama.messages import WireFunction, WireMessage, WireTool, WireToolCall, WireToolFunction
from adapters.ollama.openai import OpenAIBody
from backends.errors import InvalidRequest

_LEVELS = {"low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "max"}


def _as_blocks(value: Any) -> Any:
    return [{"type": "text", "text": value}] if isinstance(value, str) else value


class AnthropicFields(GoFields):
    go_package: ClassVar[str] = "anthropic"


class ImageSource(AnthropicFields):
    go_struct: ClassVar[str] = "ImageSource"

    type: str = ""
    data: str = ""

    def to_image(self) -> bytes:
        """Raises Rejected."""
        if self.type != "base64":
            raise Rejected(f"invalid image source type: {self.type}. Only base64 images are supported.")
        try:
            return bytes(from_base64(self.data))
        except InvalidRequest as error:
            raise Rejected(f"invalid base64 image data: {error.message}") from None


class ContentBlock(AnthropicFields):
    """Every kind of block in one class: `type` says which fields count. What isn't known is passed over."""

    go_struct: ClassVar[str] = "ContentBlock"

    type: str = ""
    text: str = ""
    thinking: str = ""
    source: ImageSource | None = None
    id: str = ""
    name: str = ""
    input: dict[str, Any] = Field(default_factory=dict)
    tool_use_id: str = ""
    content: Any = None

    def image(self) -> bytes:
        """Raises Rejected."""
        if self.source is None:
            raise Rejected("invalid image source")
        return self.source.to_image()

    def call(self) -> WireToolCall:
        """Raises Rejected."""
        for field in ("id", "name"):
            if not getattr(self, field):
                raise Rejected(f"tool_use block missing required '{field}' field")
        return WireToolCall(id=self.id, function=WireFunction(name=self.name, arguments=self.input))

    def result(self) -> WireMessage:
        """Raises Rejected."""
        text, images = self.content if isinstance(self.content, str) else "", []
        for part in self.content if isinstance(self.content, list) else ():
            match part:
                case {"type": "text", "text": str(said)}:
                    text += said
                case {"type": "image", "source": {"type": str(kind), **source}}:
                    images.append(ImageSource(type=kind, data=str(source.get("data", ""))).to_image())
                case {"type": "image"}:
                    raise Rejected("invalid tool_result image source")
        return WireMessage(role="tool", content=text, images=images, tool_call_id=self.tool_use_id)


class MessageParam(AnthropicFields):
    go_struct: ClassVar[str] = "MessageParam"
    own_decoder: ClassVar[bool] = True

    role: str = ""
    content: Annotated[list[ContentBlock], BeforeValidator(_as_blocks)] = Field(default_factory=list)

    def to_native(self) -> Iterator[WireMessage]:
        """Results of tools come before what the user says with them. Raises Rejected."""
        results = [block.result() for block in self.content if block.type == "tool_result"]
        thoughts = [block.thinking for block in self.content if block.type == "thinking"]
        said = WireMessage(
            role=self.role.lower(),
            content="".join(block.text for block in self.content if block.type == "text"),
            images=[block.image() for block in self.content if block.type == "image"],
            tool_calls=[block.call() for block in self.content if block.type == "tool_use"],
            thinking=thoughts[-1] if thoughts else "",
        )
        yield from results
        if said.content or said.images or said.tool_calls or said.thinking:
            yield said


class Tool(AnthropicFields):
    go_struct: ClassVar[str] = "Tool"

    type: str = ""
    name: str = ""
    description: str = ""
    input_schema: Any = None

    @property
    def is_hosted(self) -> bool:
        """Ollama searches the web itself; nobody here can."""
        return self.type.startswith("web_search")

    def to_native(self) -> WireTool:
        """Raises Rejected."""
        schema = {} if self.input_schema is None else self.input_schema
        if not isinstance(schema, dict):
            raise Rejected(f"invalid input_schema for tool {quoted(self.name)}: it is no object", param="tools")
        function = WireToolFunction(name=self.name, description=self.description, parameters=schema)
        return WireTool(type="function", function=function)


class ThinkingConfig(AnthropicFields):
    go_struct: ClassVar[str] = "ThinkingConfig"

    type: str = ""


class OutputConfig(AnthropicFields):
    go_struct: ClassVar[str] = "OutputConfig"

    effort: str = ""


class RelaxedChatBody(ChatBody):
    """Clients of this API, Claude Code first of all, ask for thought without looking whether the model can think."""

    def _reasoning(self, served: Served) -> bool | None:
        return super()._reasoning(served) if "thinking" in served.info.capabilities else None


class MessagesBody(OpenAIBody):
    go_package: ClassVar[str] = "anthropic"
    go_struct: ClassVar[str] = "MessagesRequest"

    max_tokens: GoInt = 0
    messages: list[MessageParam] = Field(default_factory=list)
    system: Any = None
    stream: bool = False
    temperature: float | None = None
    top_p: float | None = None
    top_k: GoInt | None = None
    stop_sequences: list[str] = Field(default_factory=list)
    tools: list[Tool] = Field(default_factory=list)
    thinking: ThinkingConfig = ThinkingConfig()
    output_config: OutputConfig = OutputConfig()

    def to_native(self, call: Call) -> ChatBody:
        """Raises Rejected; notes on the call which tools are left out."""
        if self.max_tokens <= 0:
            raise Rejected("max_tokens is required and must be positive", param="max_tokens")
        messages = [*self._system(), *(native for message in self.messages for native in message.to_native())]
        if not self.messages or not messages:
            raise Rejected("messages is required", param="messages")
        call.ignored += [f"tools.{index}" for index, tool in enumerate(self.tools) if tool.is_hosted]
        return RelaxedChatBody(
            model=self.model,
            messages=messages,
            tools=[tool.to_native() for tool in self.tools if not tool.is_hosted],
            options=self._options(),
            think=self._think(),
        )

    def _system(self) -> Iterator[WireMessage]:
        blocks = self.system if isinstance(self.system, list) else [{"type": "text", "text": self.system}]
        texts = [block["text"] for block in blocks if isinstance(block, dict) and block.get("type") == "text"]
        text = "".join(without_stamp(text) for text in texts if isinstance(text, str))
        if text:
            yield WireMessage(role="system", content=text)

    def _options(self) -> dict[str, Any]:
        options = {
            "num_predict": self.max_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k,
            "stop": self.stop_sequences or None,
        }
        return {name: value for name, value in options.items() if value is not None}

    def _think(self) -> bool | str | None:
        match self.thinking.type:
            case "enabled":
                return True
            case "disabled":
                return False
            case _:
                return _LEVELS.get(self.output_config.effort.strip().lower())
