"""The request of POST /v1/chat/completions. Knows nothing of answers.

Wire facts: openai-python `types/chat/completion_create_params.py`, vllm entrypoints/openai/chat_completion/protocol.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from pydantic import Field

from adapters.openai.common import AnswerOptions, GenerationBody
from adapters.openai.messages import (
    WireFunctionSpec,
    WireMessage,
    WireTool,
    choose_tools,
    to_messages,
    to_tool_choice,
    to_tools,
)
from backends.errors import InvalidField
from backends.request import ChatPrompt, GenerateRequest, Prompt, Tool, ToolChoice


class ChatBody(GenerationBody):
    refused: ClassVar[Mapping[str, tuple[object, ...]]] = {
        **GenerationBody.refused,
        "audio": (),
        "modalities": (["text"],),
        "web_search_options": (),
        "chat_template": (),
    }

    messages: tuple[WireMessage, ...] = Field(min_length=1)
    tools: tuple[WireTool, ...] = ()
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool = True
    functions: tuple[WireFunctionSpec, ...] = ()
    function_call: str | dict[str, Any] | None = None
    logprobs: bool = False
    top_logprobs: int = Field(default=0, ge=0, le=20)
    reasoning_effort: str | None = None
    include_reasoning: bool = True
    add_generation_prompt: bool = True
    continue_final_message: bool = False
    chat_template_kwargs: dict[str, Any] = Field(default_factory=dict)
    documents: list[dict[str, Any]] | None = None

    @property
    def is_legacy(self) -> bool:
        """Does the client know functions, the API before tools?"""
        return bool(self.functions) and not self.tools

    def prompts(self) -> tuple[Prompt, ...]:
        return (self.chat_prompt(),)

    def chat_prompt(self) -> ChatPrompt:
        """Raises InvalidField or Unsupported."""
        self._check_ending()
        tools, choice = self._tools()
        return ChatPrompt(
            messages=to_messages(self.messages),
            tools=tools,
            tool_choice=choice,
            parallel_tool_calls=self.parallel_tool_calls and not self.is_legacy,
            continue_final=self.continue_final_message,
            add_generation_prompt=self.add_generation_prompt and not self.continue_final_message,
            template_args=self._template_args(),
        )

    def options(self) -> AnswerOptions:
        return replace(super().options(), sends_reasoning=self.include_reasoning, has_functions=self.is_legacy)

    def num_top_logprobs(self) -> int | None:
        if self.top_logprobs and not self.logprobs:
            raise InvalidField("top_logprobs", "needs 'logprobs' to be true", self.top_logprobs)
        return self.top_logprobs if self.logprobs else None

    def request(self, request_id: str) -> GenerateRequest:
        request = super().request(request_id)
        if self.reasoning_effort is not None:
            request.reasoning = self.reasoning_effort != "none"
        return request

    def _check_ending(self) -> None:
        if not self.continue_final_message:
            return
        if "add_generation_prompt" in self and self.add_generation_prompt:
            raise InvalidField("continue_final_message", "can't be set together with 'add_generation_prompt'")
        if self.messages[-1].role != "assistant":
            raise InvalidField("continue_final_message", "the last message must be the assistant's")

    def _tools(self) -> tuple[tuple[Tool, ...], ToolChoice]:
        if self.is_legacy:
            functions = tuple(function.to_tool() for function in self.functions)
            return functions, to_tool_choice(self.function_call, functions, "function_call")
        return choose_tools(self.tool_choice, to_tools(self.tools), "tool_choice")

    def _template_args(self) -> dict[str, Any]:
        args = dict(self.chat_template_kwargs)
        if self.documents is not None:
            args["documents"] = self.documents
        if self.reasoning_effort is not None:
            args.setdefault("reasoning_effort", self.reasoning_effort)
        return args
