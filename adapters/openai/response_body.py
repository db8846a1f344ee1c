"""The request of POST /v1/responses. Wire facts: openai-python `types/responses/response_create_params.py`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from adapters.base import Call
from adapters.body import Body, Fields
from adapters.openai.formats import ResponseFormat
from adapters.openai.messages import choose_tools
from adapters.openai.response_input import Input, InputItem, Lookup, to_messages
from backends.errors import MissingField, Unsupported
from backends.request import TEMPERATURE_FIRST, ChatPrompt, GenerateRequest, Message, Sampling, Tool


class ResponseTool(Fields):
    """A function, flat. Hosted tools (web search, …) come the same way; nobody here can run them."""

    type: str
    name: str = ""
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None

    def to_wire(self) -> dict[str, Any]:
        if self.type != "function":
            return self.model_dump(exclude_unset=True, by_alias=True)
        return {
            "type": "function",
            "name": self.name,
            "description": self.description,
            "parameters": self.parameters,
            "strict": self.strict,
        }


class TextConfig(Fields):
    format: ResponseFormat = ResponseFormat(type="text")


class ReasoningConfig(Fields):
    effort: str | None = None
    summary: str | None = None
    generate_summary: str | None = None


class ResponseBody(Body):
    refused: ClassVar[Mapping[str, str]] = {
        "conversation": "conversations are not kept; use previous_response_id",
        "prompt": "prompt templates are not kept",
    }

    input: Input | None = None
    model: str | None = None
    instructions: str | None = None
    previous_response_id: str | None = None
    tools: tuple[ResponseTool, ...] = ()
    tool_choice: str | dict[str, Any] = "auto"
    parallel_tool_calls: bool = True
    max_output_tokens: int | None = None
    max_tool_calls: int | None = None
    temperature: float | None = Field(default=None, ge=0)
    top_p: float | None = Field(default=None, ge=0, le=1)
    top_k: int | None = None
    top_logprobs: int = Field(default=0, ge=0, le=20)
    text: TextConfig = TextConfig()
    reasoning: ReasoningConfig = ReasoningConfig()
    include: tuple[str, ...] = ()
    stream: bool = False
    store: bool = True
    background: bool = False
    metadata: dict[str, str] = Field(default_factory=dict)
    truncation: Literal["auto", "disabled"] = "disabled"
    user: str | None = None

    @classmethod
    def read(cls, call: Call) -> ResponseBody:
        """Raises MalformedBody, InvalidField, MissingField or Unsupported; notes what has no effect on the call."""
        body = cls.parse(call)
        for name, reason in cls.refused.items():
            if name in (body.model_extra or {}):
                raise Unsupported(f"'{name}' is not supported: {reason}", feature=name, param=name)
        if body.input is None and body.previous_response_id is None:
            raise MissingField("input")
        call.ignored += [f"tools.{index}" for index, tool in enumerate(body.tools) if tool.type != "function"]
        if body.truncation == "auto":
            call.ignored.append("truncation")
        return body

    @property
    def wants_logprobs(self) -> bool:
        return "message.output_text.logprobs" in self.include or self.top_logprobs > 0

    @property
    def wants_sealed_reasoning(self) -> bool:
        return "reasoning.encrypted_content" in self.include

    @property
    def wants_summary(self) -> bool:
        return bool(self.reasoning.summary or self.reasoning.generate_summary)

    def request(self, request_id: str, history: tuple[InputItem, ...], lookup: Lookup) -> GenerateRequest:
        """history: the conversation before this request. Raises InvalidRequest and its kin."""
        length = self.max_output_tokens
        return GenerateRequest(
            id=request_id,
            prompts=(self.chat((*history, *(self.input or ())), lookup),),
            max_tokens=None if length is None or length < 0 else length,
            sampling=Sampling(
                temperature=self.temperature, top_p=self.top_p, top_k=self.top_k, order=TEMPERATURE_FIRST
            ),
            top_logprobs=self.top_logprobs if self.wants_logprobs else None,
            output=self.text.format.to_output("text.format"),
            reasoning=None if self.reasoning.effort is None else self.reasoning.effort != "none",
        )

    def chat(self, items: tuple[InputItem, ...], lookup: Lookup) -> ChatPrompt:
        """Instructions hold for this request alone: those of an earlier one are forgotten."""
        system = () if self.instructions is None else (Message("system", self.instructions),)
        functions = tuple(
            Tool(tool.name, tool.description or "", tool.parameters or {})
            for tool in self.tools
            if tool.type == "function"
        )
        tools, choice = choose_tools(self.tool_choice, functions, "tool_choice")
        effort = self.reasoning.effort
        return ChatPrompt(
            messages=(*system, *to_messages(items, lookup)),
            tools=tools,
            tool_choice=choice,
            parallel_tool_calls=self.parallel_tool_calls,
            template_args={} if effort is None else {"reasoning_effort": effort},
        )

    def echoed(self) -> dict[str, Any]:
        """What a response repeats of its request, with the defaults that OpenAI fills in."""
        return {
            "background": self.background,
            "instructions": self.instructions,
            "max_output_tokens": self.max_output_tokens,
            "max_tool_calls": self.max_tool_calls,
            "metadata": self.metadata,
            "parallel_tool_calls": self.parallel_tool_calls,
            "previous_response_id": self.previous_response_id,
            "reasoning": {"effort": self.reasoning.effort, "summary": self.reasoning.summary},
            "store": self.store,
            "temperature": 1.0 if self.temperature is None else self.temperature,
            "text": {"format": self.text.format.model_dump(exclude_unset=True, by_alias=True)},
            "tool_choice": self.tool_choice,
            "tools": [tool.to_wire() for tool in self.tools],
            "top_logprobs": self.top_logprobs,
            "top_p": 1.0 if self.top_p is None else self.top_p,
            "truncation": self.truncation,
            "user": self.user,
        }
