"""The request of llama-cpp-python's POST /v1/chat/completions. Knows nothing of answers.

Wire facts: llama-cpp-python llama_cpp/server/types.py (CreateChatCompletionRequest), llama_cpp/llama_chat_format.py
(chat_formatter_to_chat_completion_handler).
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from adapters.llamacpp_python.body import GenerationBody
from adapters.llamacpp_python.messages import (
    ChatCompletionFunction,
    ChatCompletionNamedToolChoice,
    ChatCompletionRequestFunctionCallOption,
    ChatCompletionRequestResponseFormat,
    ChatCompletionTool,
    RequestMessage,
)
from adapters.openai.messages import WireMessage, to_messages
from backends.errors import InvalidRequest
from backends.request import (
    AnyJson,
    ChatPrompt,
    GenerateRequest,
    JsonSchema,
    NamedTool,
    OutputFormat,
    Tool,
    ToolChoice,
)


class ChatBody(GenerationBody):
    """Without a length, an answer is as long as the window allows. More than the server understands: the newer name of
    max_tokens."""

    handler: ClassVar[str] = "create_chat_completion"
    line: ClassVar[int] = 376

    messages: list[RequestMessage] = Field(default_factory=list)
    functions: list[ChatCompletionFunction] | None = None
    function_call: Literal["none", "auto"] | ChatCompletionRequestFunctionCallOption | None = None
    tools: list[ChatCompletionTool] | None = None
    tool_choice: Literal["none", "auto", "required"] | ChatCompletionNamedToolChoice | None = None
    max_completion_tokens: Any = None
    logprobs: bool | None = False
    top_logprobs: int | None = Field(default=None, ge=0)
    response_format: ChatCompletionRequestResponseFormat | None = None

    def length(self) -> int | None:
        if self.max_tokens is None and isinstance(self.max_completion_tokens, int):
            self.max_tokens = self.max_completion_tokens
        return super().length()

    def request(self, request_id: str) -> GenerateRequest:
        """Raises InvalidRequest."""
        return GenerateRequest(
            id=request_id,
            prompts=(self._prompt(),),
            max_tokens=self.length(),
            min_tokens=self.min_tokens,
            stop=self.stops(),
            sampling=self.sampling(),
            top_logprobs=self.top_logprobs if self.logprobs else None,
            output=self.constraint(),
        )

    def constraint(self) -> OutputFormat | None:
        """A format of JSON wins over a grammar; what is no schema asks for any JSON."""
        wanted = self.response_format
        if wanted is None or wanted["type"] == "text":
            return super().constraint()
        schema = wanted.get("schema")
        return JsonSchema(schema) if isinstance(schema, dict | bool) else AnyJson()

    def _prompt(self) -> ChatPrompt:
        tools = tuple(
            Tool(function["name"], function.get("description", ""), function["parameters"])
            for function in self._functions()
        )
        messages = to_messages([WireMessage.model_validate(message) for message in self.messages])
        return ChatPrompt(messages=messages, tools=tools, tool_choice=self._choice(tools))

    def _functions(self) -> list[ChatCompletionFunction]:
        """Those of the API before tools come first."""
        return self.functions if self.functions is not None else [tool["function"] for tool in self.tools or []]

    def _choice(self, tools: tuple[Tool, ...]) -> ToolChoice:
        """`required` asks for no more than `auto` there: only a function that is named must be called."""
        match self.function_call or self.tool_choice:
            case {"name": str(name)} | {"function": {"name": str(name)}} if tools or self.tools is not None:
                if all(tool.name != name for tool in tools):
                    raise InvalidRequest(f"Tool choice '{name}' not found in tools.", param="tool_choice")
                return NamedTool(name)
            case "none":
                return "none"
            case _:
                return "auto"
