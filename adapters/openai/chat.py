"""POST /v1/chat/completions, as OpenAI and vLLM's server answer it.

Wire facts: openai-python `types/chat/*`, vllm entrypoints/openai/chat_completion. Where the two differ: `content` is
null beside tool calls (OpenAI), thought comes in `reasoning_content` and `reasoning` (vLLM's old and new names).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, ClassVar

from typing_extensions import assert_never

from adapters.base import Call
from adapters.openai.chat_body import ChatBody
from adapters.openai.common import resolve
from adapters.openai.exchange import FINISH_REASONS, OpenAIExchange
from adapters.openai.logprobs import chat_logprobs, vllm_prompt_logprobs
from backends.events import (
    CompletedChoice,
    Completion,
    Event,
    Finished,
    Prefilled,
    Reasoning,
    Started,
    Text,
    TokenLogprob,
    ToolCallArguments,
    ToolCallStarted,
)
from backends.request import ChatPrompt, NamedTool


class ChatExchange(OpenAIExchange):
    """reasoning_fields: the names under which thought is sent. named_call_reason: how an answer ends whose function
    the client had named; OpenAI and vLLM say `stop`, others `tool_calls`.
    """

    id_prefix = "chatcmpl"
    body_object = "chat.completion"
    chunk_object = "chat.completion.chunk"
    reasoning_fields: ClassVar[tuple[str, ...]] = ("reasoning_content", "reasoning")
    named_call_reason: ClassVar[str] = "stop"

    def frames(self, event: Event) -> Iterable[bytes]:
        match event:
            case Text():
                return self.on_text(event)
            case Reasoning():
                return self.on_reasoning(event)
            case Started():
                return self.on_started(event)
            case ToolCallStarted():
                return self.on_call_started(event)
            case ToolCallArguments():
                return self.on_call_arguments(event)
            case Finished():
                return self.on_finished(event)
            case Prefilled():
                return ()
            case _:
                assert_never(event)

    # streamed

    def on_started(self, event: Started) -> Iterable[bytes]:
        self.note(event)
        chunk = self.chunk(self.chunk_choice(event.index, self.first_delta()))
        if self.options.sends_token_ids:
            chunk["prompt_token_ids"] = event.prompt_token_ids
        return (self.frame(chunk),)

    def on_text(self, event: Text) -> Iterable[bytes]:
        return self.piece("text", event.index, self.text_delta, event.text, event.token_ids, event.logprobs)

    def on_reasoning(self, event: Reasoning) -> Iterable[bytes]:
        if not self.options.sends_reasoning:
            return ()
        return self.piece("reasoning", event.index, self.reasoning_delta, event.text, event.token_ids)

    def on_call_started(self, event: ToolCallStarted) -> Iterable[bytes]:
        return (self.frame(self.chunk(self.chunk_choice(event.index, self.call_delta(event)))),)

    def on_call_arguments(self, event: ToolCallArguments) -> Iterable[bytes]:
        return self.piece(event.call, event.index, partial(self.arguments_delta, event.call), event.text)

    def on_finished(self, event: Finished) -> Iterable[bytes]:
        self.note(event)
        return (self.frame(self.chunk(self.finish_choice(event))),)

    def piece(
        self,
        kind: str | int,
        index: int,
        delta: Callable[[str], dict[str, Any]],
        text: str,
        token_ids: tuple[int, ...] = (),
        logprobs: tuple[TokenLogprob, ...] = (),
    ) -> Iterable[bytes]:
        """The chunk of one delta. kind and index name its template, which serves unless there is more than text."""
        if self.is_plain and not logprobs:
            return (self.filled((kind, index), text, lambda hole: self.chunk_choice(index, delta(hole))),)
        self.num_tokens[index] += len(token_ids)
        choice = self.chunk_choice(index, delta(text))
        if logprobs:
            choice["logprobs"] = self.logprobs(logprobs)
        if self.options.sends_token_ids:
            choice["token_ids"] = token_ids
        return (self.frame(self.chunk(choice)),)

    # shapes of a chunk

    def first_delta(self) -> dict[str, Any]:
        return {"role": "assistant", "content": "", "refusal": None}

    def text_delta(self, text: str) -> dict[str, Any]:
        return {"content": text}

    def reasoning_delta(self, text: str) -> dict[str, Any]:
        return dict.fromkeys(self.reasoning_fields, text)

    def call_delta(self, event: ToolCallStarted) -> dict[str, Any]:
        function = {"name": event.name, "arguments": ""}
        if self.options.has_functions:
            return {"function_call": function}
        return {"tool_calls": [{"index": event.call, "id": event.id, "type": "function", "function": function}]}

    def arguments_delta(self, call: int, text: str) -> dict[str, Any]:
        if self.options.has_functions:
            return {"function_call": {"arguments": text}}
        return {"tool_calls": [{"index": call, "function": {"arguments": text}}]}

    def finish_choice(self, event: Finished) -> dict[str, Any]:
        return self.chunk_choice(event.index, {}, self.finish_reason(event)) | {"stop_reason": event.stop_text}

    def chunk_choice(self, index: int, delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}

    # shapes of a whole answer

    def body(self, completion: Completion) -> dict[str, Any]:
        body = super().body(completion)
        started = completion.ordered[0].started
        if self.options.sends_prompt_logprobs:
            body["prompt_logprobs"] = vllm_prompt_logprobs(started.prompt_logprobs)
        if self.options.sends_token_ids:
            body["prompt_token_ids"] = started.prompt_token_ids
        return body

    def body_choice(self, choice: CompletedChoice) -> dict[str, Any]:
        shape = {
            "index": choice.index,
            "message": self.message(choice),
            "logprobs": None if self.request.top_logprobs is None else self.logprobs(choice.logprobs),
            "finish_reason": self.finish_reason(choice.end),
            "stop_reason": choice.end.stop_text,
        }
        if self.options.sends_token_ids:
            shape["token_ids"] = choice.token_ids
        return shape

    def message(self, choice: CompletedChoice) -> dict[str, Any]:
        """content is null when there are only calls."""
        message: dict[str, Any] = {
            "role": "assistant",
            "content": choice.text or (None if choice.tool_calls else ""),
            "refusal": None,
            "annotations": [],
        }
        if choice.reasoning and self.options.sends_reasoning:
            message |= self.reasoning_delta(choice.reasoning)
        functions = [{"name": call.name, "arguments": call.arguments} for call in choice.tool_calls]
        if functions and self.options.has_functions:
            message["function_call"] = functions[0]
        elif functions:
            message["tool_calls"] = [
                {"id": call.id, "type": "function", "function": function}
                for call, function in zip(choice.tool_calls, functions, strict=True)
            ]
        return message

    def logprobs(self, tokens: Iterable[TokenLogprob]) -> dict[str, Any]:
        return chat_logprobs(tokens, as_ids=self.options.names_by_id)

    def finish_reason(self, finished: Finished) -> str:
        if finished.reason != "tool_calls":
            return FINISH_REASONS[finished.reason]
        match self.request.prompts:
            case (ChatPrompt(tool_choice=NamedTool()),):
                return self.named_call_reason
            case _:
                return "function_call" if self.options.has_functions else "tool_calls"


async def chat(call: Call) -> ChatExchange:
    body = ChatBody.parse(call)
    return ChatExchange(call, resolve(call, body.model), body.request(call.id), body.options())
