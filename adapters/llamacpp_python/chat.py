"""POST /v1/chat/completions as llama-cpp-python answers it.

A call is told twice, as `function_call` and in `tool_calls`, each piece with name and id, and its chunks have their
keys in another order than those of text. Wire facts: llama-cpp-python llama_cpp/llama_chat_format.py
(_convert_text_completion_to_chat, _convert_completion_to_chat_function). Unlike the server itself, calls that a model
makes unbidden are told as calls, and thought as `reasoning_content`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, ClassVar

from adapters.base import Call, Served
from adapters.llamacpp_python.answer import Accent
from adapters.llamacpp_python.chat_body import ChatBody
from adapters.openai.chat import ChatExchange
from adapters.openai.common import AnswerOptions
from backends.events import (
    CompletedChoice,
    Finished,
    Reasoning,
    Started,
    Text,
    TokenLogprob,
    ToolCallArguments,
    ToolCallStarted,
)
from backends.request import ChatPrompt, GenerateRequest, NamedTool

_NOTHING: dict[str, Any] = {"role": None, "content": None, "function_call": None, "tool_calls": None}


class PythonChatExchange(Accent, ChatExchange):
    reasoning_fields: ClassVar[tuple[str, ...]] = ("reasoning_content",)

    def __init__(self, call: Call, served: Served, request: GenerateRequest, options: AnswerOptions) -> None:
        super().__init__(call, served, request, options)
        self._calls: list[ToolCallStarted] = []
        self._is_told: set[int] = set()  # calls of which something was sent

    @property
    def names_function(self) -> bool:
        """Must a certain function be called?"""
        match self.request.prompts:
            case (ChatPrompt(tool_choice=NamedTool()),):
                return True
            case _:
                return False

    # streamed

    def on_started(self, event: Started) -> Iterable[bytes]:
        self.note(event)
        if self.names_function:
            return (self.frame(self.call_chunk(_NOTHING | {"role": "assistant"})),)
        return (self.frame(self.chunk(self.chunk_choice(event.index, {"role": "assistant"}))),)

    def on_text(self, event: Text) -> Iterable[bytes]:
        return super().on_text(event) if event.text or event.logprobs else ()

    def on_reasoning(self, event: Reasoning) -> Iterable[bytes]:
        return super().on_reasoning(event) if event.text else ()

    def on_call_started(self, event: ToolCallStarted) -> Iterable[bytes]:
        self._calls.append(event)
        return ()

    def on_call_arguments(self, event: ToolCallArguments) -> Iterable[bytes]:
        if not event.text:
            return ()
        self._is_told.add(event.call)
        return (self.call_piece(self._calls[event.call], event.text),)

    def on_finished(self, event: Finished) -> Iterable[bytes]:
        self.note(event)
        for call in self._calls:
            if call.call not in self._is_told:
                yield self.call_piece(call, "")
        if self._calls or self.names_function:
            yield self.frame(self.call_chunk(_NOTHING, self.finish_reason(event)))
        else:
            yield self.frame(self.chunk(self.chunk_choice(event.index, {}, self.finish_reason(event))))

    def call_piece(self, call: ToolCallStarted, arguments: str) -> bytes:
        return self.filled(("call", call.call), arguments, partial(self._call_choice, call))

    def _call_choice(self, call: ToolCallStarted, arguments: str) -> dict[str, Any]:
        function = {"name": call.name, "arguments": arguments}
        tool_call = {"index": call.call, **self.tool_call(call.call, function)}
        return self.call_choice(_NOTHING | {"function_call": function, "tool_calls": [tool_call]})

    # shapes

    def chunk(self, choice: dict[str, Any]) -> dict[str, Any]:
        """Which keys come first depends on what is told."""
        envelope = super().chunk(choice)
        if "tool_calls" in choice["delta"]:
            return envelope
        return {key: envelope[key] for key in ("id", "model", "created", "object", "choices")}

    def call_chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        return self.chunk(self.call_choice(delta, finish_reason))

    def call_choice(self, delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        return {"index": 0, "finish_reason": finish_reason, "logprobs": None, "delta": delta}

    def tool_call(self, number: int, function: dict[str, str]) -> dict[str, Any]:
        call_id = f"call__{number}_{function['name']}_cmpl-{self.uuid}"
        return {"id": call_id, "type": "function", "function": function}

    def body_choice(self, choice: CompletedChoice) -> dict[str, Any]:
        shape = super().body_choice(choice)
        del shape["stop_reason"]
        return shape

    def message(self, choice: CompletedChoice) -> dict[str, Any]:
        functions = [{"name": call.name, "arguments": call.arguments} for call in choice.tool_calls]
        message: dict[str, Any] = {"content": choice.text or (None if functions else "")}
        if functions:
            message["tool_calls"] = [self.tool_call(i, function) for i, function in enumerate(functions)]
        message["role"] = "assistant"
        if functions:
            message["function_call"] = functions[0]
        if choice.reasoning:
            message["reasoning_content"] = choice.reasoning
        return message

    def logprobs(self, tokens: Iterable[TokenLogprob]) -> dict[str, Any]:
        """A stream has the bytes in front of the number."""
        entry = _streamed_entry if self.streams else _entry
        content = [entry(token) | {"top_logprobs": list(map(_entry, _with_chosen(token)))} for token in tokens]
        return {"content": content, "refusal": None}

    def finish_reason(self, finished: Finished) -> str:
        return "tool_calls" if self.names_function else super().finish_reason(finished)


def _with_chosen(token: TokenLogprob) -> Iterable[TokenLogprob]:
    """The chosen token is always among the most likely."""
    return token.top if any(other.id == token.id for other in token.top) else (*token.top, token)


def _streamed_entry(token: TokenLogprob) -> dict[str, Any]:
    return {"token": _name(token), "bytes": None, "logprob": token.logprob}


def _entry(token: TokenLogprob) -> dict[str, Any]:
    return {"token": _name(token), "logprob": token.logprob, "bytes": None}


def _name(token: TokenLogprob) -> str:
    """Bytes that are no text by themselves are left out."""
    return token.bytes.decode("utf-8", "ignore")


async def chat(call: Call) -> PythonChatExchange:
    body = ChatBody.parse(call)
    return PythonChatExchange(call, call.models.resolve(body.model), body.request(call.id), body.options())
