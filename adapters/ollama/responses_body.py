"""The request of POST /v1/responses on Ollama's listener → a native chat request. Knows no answer.

Wire facts: ollama openai/responses.go (ResponsesRequest, FromResponsesRequest).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from pydantic import Field

from adapters.base import Call
from adapters.ollama.body import GoFields, GoInt, GoType
from adapters.ollama.chat import ChatBody
from adapters.ollama.messages import WireTool, WireToolFunction
from adapters.ollama.openai import OpenAIBody, to_think
from adapters.ollama.responses_input import to_native


class ResponsesFields(GoFields):
    go_package: ClassVar[str] = "openai"


class ResponsesTool(ResponsesFields):
    go_struct: ClassVar[str] = "ResponsesTool"

    type: str = ""
    name: str = ""
    description: str | None = None
    strict: bool | None = None
    parameters: dict[str, Any] | None = None
    tools: list[Any] = Field(default_factory=list)

    def to_native(self, prefix: str = "") -> Iterator[WireTool]:
        """The functions of a namespace bear its name. Hosted tools, which nobody here can run, have none."""
        own = self.name if self.name.startswith(prefix) else prefix + self.name
        if self.type == "namespace":
            for member in self.tools:
                yield from ResponsesTool.model_validate(member).to_native(f"{own}." if own else "")
        elif self.name and self.type != "web_search":
            function = WireToolFunction(name=own, description=self.description or "", parameters=self.parameters or {})
            yield WireTool(type="function", function=function)

    def echoed(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in ("type", "name", "description", "strict", "parameters")}
        return own | ({"tools": self.tools} if self.tools else {})


class TextFormat(ResponsesFields):
    go_struct: ClassVar[str] = "ResponsesTextFormat"

    type: str = ""
    name: str = ""
    schema_: Any = Field(default=None, alias="schema")
    strict: bool | None = None

    def to_native(self) -> Any:
        """`json_object` is more than Ollama understands here."""
        return {"json_schema": self.schema_, "json_object": "json"}.get(self.type)


class TextConfig(ResponsesFields):
    go_struct: ClassVar[str] = "ResponsesText"

    format: TextFormat | None = None


class ReasoningConfig(ResponsesFields):
    go_struct: ClassVar[str] = "ResponsesReasoning"

    effort: str = ""
    summary: str = ""

    def echoed(self) -> dict[str, str | None] | None:
        return {"effort": self.effort or None, "summary": self.summary or None} if self.effort or self.summary else None


class ResponsesBody(OpenAIBody):
    """Nothing is kept here: a `previous_response_id` is ignored, as Ollama does. Thought always comes as a summary,
    and as it is in `encrypted_content`."""

    go_struct: ClassVar[str] = "ResponsesRequest"
    wants_summary: ClassVar[bool] = True
    wants_sealed_reasoning: ClassVar[bool] = True

    input: Annotated[Any, GoType("openai.ResponsesInput")] = ""
    instructions: str = ""
    background: bool = False
    max_output_tokens: GoInt | None = None
    reasoning: ReasoningConfig = ReasoningConfig()
    temperature: float | None = None
    top_p: float | None = None
    text: TextConfig = TextConfig()
    tools: list[ResponsesTool] = Field(default_factory=list)
    truncation: str = "disabled"
    stream: bool = False

    def to_native(self, call: Call) -> ChatBody:
        """Raises Rejected; notes on the call which tools are left out."""
        think = to_think(self.reasoning.effort)
        tools = [list(tool.to_native()) for tool in self.tools]
        call.ignored += [f"tools.{index}" for index, expanded in enumerate(tools) if not expanded]
        return ChatBody(
            model=self.model,
            messages=to_native(self.instructions, self.input),
            tools=[tool for expanded in tools for tool in expanded],
            format=self.text.format.to_native() if self.text.format else None,
            options=self._options(),
            think=think,
        )

    def _options(self) -> dict[str, Any]:
        """Ollama leaves top_p to the model, but not the temperature."""
        options = {
            "temperature": 1.0 if self.temperature is None else self.temperature,
            "top_p": self.top_p,
            "num_predict": self.max_output_tokens,
        }
        return {name: value for name, value in options.items() if value is not None}

    def echoed(self) -> dict[str, Any]:
        """What a response repeats, in Ollama's order."""
        wanted = self.text.format
        return {
            "previous_response_id": None,
            "instructions": self.instructions or None,
            "tools": [tool.echoed() for tool in self.tools],
            "tool_choice": "auto",
            "truncation": self.truncation,
            "parallel_tool_calls": True,
            "text": {"format": wanted.model_dump(exclude_unset=True, by_alias=True) if wanted else {"type": "text"}},
            "top_p": 1.0 if self.top_p is None else self.top_p,
            "presence_penalty": 0,
            "frequency_penalty": 0,
            "top_logprobs": 0,
            "temperature": 1.0 if self.temperature is None else self.temperature,
            "reasoning": self.reasoning.echoed(),
            "max_output_tokens": self.max_output_tokens,
            "max_tool_calls": None,
            "store": False,
            "background": self.background,
            "service_tier": "default",
            "metadata": {},
            "safety_identifier": None,
            "prompt_cache_key": None,
        }
