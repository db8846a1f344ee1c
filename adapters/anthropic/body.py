"""The requests of POST /v1/messages and /v1/messages/count_tokens. Knows nothing of answers.

What a client leaves out is the model's own affair, the temperature too. Wire facts: anthropic-sdk-python
`types/message_create_params.py`, `types/message_count_tokens_params.py`, `types/tool_choice_*_param.py`,
`types/thinking_config_*_param.py`.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field
from typing_extensions import Self

from adapters.anthropic.content import Blocks
from adapters.anthropic.messages import WireMessage, to_chat
from adapters.base import Call
from adapters.body import Body, Fields
from adapters.openai.messages import to_tool_choice
from backends.errors import InvalidRequest, MissingField, Unsupported
from backends.request import TEMPERATURE_FIRST, ChatPrompt, GenerateRequest, JsonSchema, Sampling, Tool, ToolChoice


class WireTool(Fields):
    """A tool of the client's own. Anthropic's tools have other types; nobody here can run them."""

    name: str = ""
    type: str = "custom"
    description: str = ""
    input_schema: dict[str, Any] = Field(default_factory=dict)


class WireToolChoice(Fields):
    type: Literal["auto", "any", "tool", "none"]
    name: str = ""
    disable_parallel_tool_use: bool = False

    def to_choice(self, tools: tuple[Tool, ...]) -> ToolChoice:
        """Raises InvalidField for a choice that the tools don't allow."""
        return to_tool_choice({"name": self.name} if self.type == "tool" else self.type, tools, "tool_choice")


class Thinking(Fields):
    """display `omitted`: that the model thought is told, but not what."""

    type: Literal["enabled", "disabled", "adaptive", "between_tools"] = "adaptive"
    budget_tokens: int | None = Field(default=None, ge=1024)
    display: Literal["summarized", "omitted"] | None = None


class JsonFormat(Fields):
    type: Literal["json_schema"]
    schema_: dict[str, Any] = Field(alias="schema")


class OutputConfig(Fields):
    effort: str | None = None
    format: JsonFormat | None = None


class PromptBody(Body):
    """What the model is asked, without how it should answer: all that counts for counting tokens."""

    model: str
    messages: tuple[WireMessage, ...] = Field(min_length=1)
    system: Blocks = ()
    tools: tuple[WireTool, ...] = ()
    tool_choice: WireToolChoice | None = None
    thinking: Thinking = Thinking()
    output_config: OutputConfig = OutputConfig()
    output_format: JsonFormat | None = None  # before it moved into output_config
    mcp_servers: list[dict[str, Any]] = Field(default_factory=list)

    @classmethod
    def read(cls, call: Call) -> Self:
        """Raises MalformedBody, InvalidField, MissingField or Unsupported; notes what has no effect on the call."""
        body = cls.parse(call)
        if body.mcp_servers:
            raise Unsupported("MCP servers can't be called from here", feature="mcp_servers", param="mcp_servers")
        call.ignored += [f"tools.{index}" for index, tool in enumerate(body.tools) if tool.type != "custom"]
        if body.thinking.budget_tokens is not None:
            call.ignored.append("thinking.budget_tokens")
        return body

    def chat(self) -> ChatPrompt:
        """An assistant's message at the end is the beginning of the answer. Raises InvalidField or Unsupported."""
        messages = to_chat(self.system, self.messages)
        continues = bool(messages) and messages[-1].role == "assistant" and not messages[-1].tool_calls
        tools = tuple(
            Tool(tool.name, tool.description, tool.input_schema) for tool in self.tools if tool.type == "custom"
        )
        choice = self.tool_choice
        return ChatPrompt(
            messages=messages,
            tools=tools,
            tool_choice=choice.to_choice(tools) if choice else "auto",
            parallel_tool_calls=not (choice and choice.disable_parallel_tool_use),
            continue_final=continues,
            add_generation_prompt=not continues,
            template_args={"reasoning_effort": self.output_config.effort} if self.output_config.effort else {},
        )

    @property
    def reasoning(self) -> bool | None:
        """As GenerateRequest.reasoning: what is adaptive is the model's affair."""
        return {"enabled": True, "disabled": False}.get(self.thinking.type)


class MessagesBody(PromptBody):
    max_tokens: int = Field(ge=0)
    stop_sequences: tuple[str, ...] = ()
    stream: bool = False
    temperature: float | None = Field(default=None, ge=0, le=1)
    top_p: float | None = Field(default=None, ge=0, le=1)
    top_k: int | None = None

    def request(self, request_id: str) -> GenerateRequest:
        """Raises InvalidRequest and its kin."""
        self._check_budget()
        wanted = self.output_config.format or self.output_format
        return GenerateRequest(
            id=request_id,
            prompts=(self.chat(),),
            max_tokens=self.max_tokens,
            stop=tuple(text for text in self.stop_sequences if text),
            sampling=Sampling(
                temperature=self.temperature, top_p=self.top_p, top_k=self.top_k, order=TEMPERATURE_FIRST
            ),
            output=None if wanted is None else JsonSchema(wanted.schema_),
            reasoning=self.reasoning,
        )

    def _check_budget(self) -> None:
        budget = self.thinking.budget_tokens
        if self.thinking.type == "enabled" and budget is None:
            raise MissingField("thinking.enabled.budget_tokens")
        if budget is not None and budget >= self.max_tokens:
            raise InvalidRequest("`max_tokens` must be greater than `thinking.budget_tokens`.", param="max_tokens")
