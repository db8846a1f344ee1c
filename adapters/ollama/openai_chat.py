"""POST /v1/chat/completions on Ollama's listener.

Wire facts: ollama middleware/openai.go (ChatWriter, ChatMiddleware), openai/openai.go (ToChatCompletion, toChunk,
FinishChunk, FromChatRequest).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from pydantic import Field

from adapters.base import Call
from adapters.ollama.body import GoFields, GoInt
from adapters.ollama.chat import ChatBody
from adapters.ollama.errors import Rejected
from adapters.ollama.exchange import DONE_REASONS
from adapters.ollama.json import go_json
from adapters.ollama.messages import WireTool
from adapters.ollama.openai import Accent, GenerationBody, to_think
from adapters.ollama.openai_messages import OpenAIMessage, to_native
from adapters.ollama.shapes import arguments, call_id, to_logprobs, whole_calls
from adapters.openai.chat import ChatExchange
from backends.events import (
    CompletedCall,
    CompletedChoice,
    Finished,
    Reasoning,
    Started,
    Text,
    TokenLogprob,
    ToolCallArguments,
    ToolCallStarted,
)


class NamedSchema(GoFields):
    go_struct: ClassVar[str] = "JsonSchema"
    go_package: ClassVar[str] = "openai"

    schema_: Any = Field(default=None, alias="schema")


class ResponseFormat(GoFields):
    go_struct: ClassVar[str] = "ResponseFormat"
    go_package: ClassVar[str] = "openai"

    type: str = ""
    json_schema: NamedSchema = NamedSchema()

    def to_native(self) -> Any:
        match self.type.strip().lower():
            case "json_object":
                return "json"
            case "json_schema":
                return self.json_schema.schema_
            case _:
                return None


class Reasons(GoFields):
    go_struct: ClassVar[str] = "Reasoning"
    go_package: ClassVar[str] = "openai"

    effort: str = ""


class OpenAIChatBody(GenerationBody):
    go_struct: ClassVar[str] = "ChatCompletionRequest"

    messages: list[OpenAIMessage] = Field(default_factory=list)
    response_format: ResponseFormat = ResponseFormat()
    tools: list[WireTool] = Field(default_factory=list)
    reasoning: Reasons | None = None
    reasoning_effort: str = ""
    logprobs: bool = False
    top_logprobs: GoInt = 0

    def to_native(self) -> ChatBody:
        """Raises Rejected."""
        if not self.messages:
            raise Rejected("[] is too short - 'messages'", param="messages")
        return ChatBody(
            model=self.model,
            messages=to_native(self.messages),
            tools=self.tools,
            format=self.response_format.to_native(),
            options=self.native_options(),
            think=to_think(self.reasoning.effort if self.reasoning else self.reasoning_effort),
            logprobs=self.logprobs,
            top_logprobs=self.top_logprobs,
        )


class OpenAIChatExchange(Accent, ChatExchange):
    """The role comes with the first delta, a call whole, and the reason in a chunk of its own."""

    reasoning_fields: ClassVar[tuple[str, ...]] = ("reasoning",)
    has_begun = False

    def on_started(self, event: Started) -> Iterable[bytes]:
        self.note(event)
        return ()

    def on_text(self, event: Text) -> Iterable[bytes]:
        if not self.has_begun:
            return (self._first(self.text_delta(event.text), event.logprobs),)
        return super().on_text(event)

    def on_reasoning(self, event: Reasoning) -> Iterable[bytes]:
        if not self.has_begun:
            return (self._first(self.reasoning_delta(event.text)),)
        return super().on_reasoning(event)

    def on_call_started(self, event: ToolCallStarted) -> Iterable[bytes]:
        self.seen.add(event)
        return ()

    def on_call_arguments(self, event: ToolCallArguments) -> Iterable[bytes]:
        self.seen.add(event)
        return ()

    def on_finished(self, event: Finished) -> Iterable[bytes]:
        self.note(event)
        choice = self.seen.choices[event.index]
        if calls := whole_calls(choice.tool_calls, event):
            yield self._next({"content": "", "tool_calls": _calls(calls)})
        elif not self.has_begun:
            yield self._next({"content": ""})
        yield self.frame(self.chunk(self.chunk_choice(event.index, {}, self.reason(choice))))

    def reasoning_delta(self, text: str) -> dict[str, Any]:
        return {"content": ""} | super().reasoning_delta(text)

    def chunk_choice(self, index: int, delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        return {"index": index, "delta": delta, "finish_reason": finish_reason}

    def body_choice(self, choice: CompletedChoice) -> dict[str, Any]:
        shape = {"index": choice.index, "message": self.message(choice), "finish_reason": self.reason(choice)}
        if choice.logprobs:
            shape["logprobs"] = self.logprobs(choice.logprobs)
        return shape

    def message(self, choice: CompletedChoice) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": choice.text}
        if choice.reasoning:
            message["reasoning"] = choice.reasoning
        if calls := whole_calls(choice.tool_calls, choice.end):
            message["tool_calls"] = _calls(calls)
        return message

    def logprobs(self, tokens: Iterable[TokenLogprob]) -> dict[str, Any]:
        return {"content": to_logprobs(tokens)}

    def reason(self, choice: CompletedChoice) -> str:
        reason = DONE_REASONS[choice.end.reason]
        return "tool_calls" if reason == "stop" and choice.tool_calls else reason

    def _first(self, delta: dict[str, Any], logprobs: tuple[TokenLogprob, ...] = ()) -> bytes:
        self.has_begun = True
        choice = self.chunk_choice(0, {"role": "assistant"} | delta)
        if logprobs:
            choice["logprobs"] = self.logprobs(logprobs)
        return self.frame(self.chunk(choice))

    def _next(self, delta: dict[str, Any]) -> bytes:
        if not self.has_begun:
            return self._first(delta)
        return self.frame(self.chunk(self.chunk_choice(0, delta)))


def _calls(calls: Iterable[CompletedCall]) -> list[dict[str, Any]]:
    return [
        {
            "id": call_id(call.id),
            "index": index,
            "type": "function",
            "function": {"name": call.name, "arguments": go_json(arguments(call)).decode()},
        }
        for index, call in enumerate(calls)
    ]


async def chat_v1(call: Call) -> OpenAIChatExchange:
    body = OpenAIChatBody.parse(call)
    native = body.to_native()
    scheduled = await native.schedule(call, native.find(call))
    request = native.request(call, native.prompt(), scheduled)
    return OpenAIChatExchange(call, scheduled.served, request, body.answer_options())
