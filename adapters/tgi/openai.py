"""TGI's /v1/chat/completions and /v1/completions: OpenAI's shapes with empty ids and an accent of their own.

Every chunk of a chat has its role, and `usage` at null; every chunk of a text has the finish reason `""` until the
last. A stop string stays in the text, as on TGI's own routes. Wire facts: text-generation-inference
router/src/server.rs, chat.rs, lib.rs (ChatRequest, CompletionRequest and their answers).
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterable
from typing import Any, ClassVar

from adapters import axum
from adapters.base import Call, Reply, Served
from adapters.framing import to_json
from adapters.openai.chat import ChatExchange
from adapters.openai.chat_body import ChatBody
from adapters.openai.common import AnswerOptions, GenerationBody
from adapters.openai.completions import CompletionBody, CompletionExchange
from adapters.openai.exchange import OpenAIExchange
from adapters.openai.logprobs import token_name
from adapters.tgi.body import LIMITS
from adapters.tgi.errors import Refused, Rejected, failure_frames
from adapters.tgi.generate import FINISH_REASONS, KEEP_ALIVE, STREAM_HEADERS, reply_headers
from adapters.tgi.probes import VERSION, resolve
from backends.errors import DragomanError
from backends.events import (
    CompletedChoice,
    Completion,
    Finished,
    Started,
    TokenLogprob,
    ToolCallStarted,
    Usage,
)
from backends.request import TEMPERATURE_FIRST, GenerateRequest, Sampling


class Sampled(GenerationBody):
    """TGI's samplers: what isn't said changes nothing, and only a temperature of zero is greedy."""

    def sampling(self) -> Sampling:
        sampling = super().sampling()
        neutral: dict[str, float] = {
            "temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "repetition_penalty": 1.0,
            "presence_penalty": 0.0, "frequency_penalty": 0.0,
        }  # fmt: skip
        for name, value in neutral.items():
            if getattr(sampling, name) is None:
                setattr(sampling, name, value)
        sampling.order = TEMPERATURE_FIRST
        return sampling

    def request(self, request_id: str) -> GenerateRequest:
        if len(self.stop) > LIMITS.stop_sequences:
            raise Rejected(f"`stop` supports up to {LIMITS.stop_sequences} stop sequences. Given: {len(self.stop)}")
        request = super().request(request_id)
        request.include_stop = True
        return request


class TgiChatBody(Sampled, ChatBody):
    """The model may be called `tgi`."""

    def request(self, request_id: str) -> GenerateRequest:
        if self.response_format is not None and self.tools:
            raise Refused("Tool error: Grammar and tools are mutually exclusive", "tool_error")
        return super().request(request_id)


class TgiCompletionBody(Sampled, CompletionBody):
    """max_tokens is open, and there is no suffix."""

    default_length: ClassVar[int | None] = None

    def request(self, request_id: str) -> GenerateRequest:
        if self.suffix is not None:
            told = "Suffix is not supported and can be achieved by preprocessing the prompt."
            raise Refused(told, "suffix not supported")
        if len(self.prompt) > LIMITS.client_batch_size:
            told = f"Number of prompts exceeds the maximum allowed batch size of {LIMITS.client_batch_size}"
            raise Refused(told, "batch size exceeded")
        return super().request(request_id)


class Accent(OpenAIExchange, ABC):
    """Comes before ChatExchange or CompletionExchange among the bases."""

    def __init__(self, call: Call, served: Served, request: GenerateRequest, options: AnswerOptions) -> None:
        super().__init__(call, served, request, options)
        self.id = ""
        self.fingerprint = f"{VERSION}-native"
        self._call = call
        self.headers = STREAM_HEADERS
        self.keep_alive = KEEP_ALIVE

    def tail(self) -> Iterable[bytes]:
        return (axum.DONE,)

    def failure(self, error: DragomanError) -> Iterable[bytes]:
        return failure_frames(error, self._call)

    def reply(self, completion: Completion) -> Reply:
        num_characters = sum(len(choice.started.prompt_text) for choice in completion.ordered)
        return Reply(to_json(self.body(completion)), headers=reply_headers(self._call, num_characters, completion))

    def chunk(self, choice: dict[str, Any]) -> dict[str, Any]:
        return self.envelope(self.chunk_object, [choice])

    def envelope(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "object": kind,
            "id": self.id,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
            "choices": choices,
        }

    def usage_object(self, usage: Usage) -> dict[str, Any]:
        return {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "total_tokens": usage.total_tokens,
        }

    def frame(self, value: dict[str, Any]) -> bytes:
        return axum.event(value)

    def finish_reason(self, finished: Finished) -> str:
        """The end of text is `stop`; everything else keeps TGI's own word."""
        reason = FINISH_REASONS[finished.reason]
        return "stop" if reason == "eos_token" else reason


class TgiChatExchange(Accent, ChatExchange):
    reasoning_fields: ClassVar[tuple[str, ...]] = ("reasoning_content",)

    def __init__(self, call: Call, served: Served, request: GenerateRequest, options: AnswerOptions) -> None:
        super().__init__(call, served, request, options)
        self.model = served.name if options.model in (None, "tgi") else str(options.model)
        self._names: dict[int, ToolCallStarted] = {}

    def on_started(self, event: Started) -> Iterable[bytes]:
        self.note(event)
        return ()

    def on_call_started(self, event: ToolCallStarted) -> Iterable[bytes]:
        self._names[event.call] = event
        return super().on_call_started(event)

    def tail(self) -> Iterable[bytes]:
        if self.options.sends_usage:
            usage = {"usage": self.usage_object(self.seen.usage)}
            yield self.frame(self.envelope(self.chunk_object, []) | usage)
        yield axum.DONE

    def chunk(self, choice: dict[str, Any]) -> dict[str, Any]:
        return super().chunk(choice) | {"usage": None}

    def text_delta(self, text: str) -> dict[str, Any]:
        return {"role": "assistant", "content": text}

    def call_delta(self, event: ToolCallStarted) -> dict[str, Any]:
        return self._calls_delta(event.call, event.name, "")

    def arguments_delta(self, call: int, text: str) -> dict[str, Any]:
        return self._calls_delta(call, None, text)

    def _calls_delta(self, call: int, name: str | None, arguments: str) -> dict[str, Any]:
        function = {"name": name, "arguments": arguments}
        one = {"index": call, "id": self._names[call].id, "type": "function", "function": function}
        return {"role": "assistant", "tool_calls": [one]}

    def finish_choice(self, event: Finished) -> dict[str, Any]:
        return self.chunk_choice(event.index, self.text_delta(""), self.finish_reason(event))

    def body_choice(self, choice: CompletedChoice) -> dict[str, Any]:
        shape = super().body_choice(choice)
        del shape["stop_reason"]
        return shape

    def message(self, choice: CompletedChoice) -> dict[str, Any]:
        """Text or calls, never both."""
        if choice.tool_calls:
            calls = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"description": None, "name": call.name, "arguments": call.arguments},
                }
                for call in choice.tool_calls
            ]
            return {"role": "assistant", "tool_calls": calls}
        message = {"role": "assistant", "content": choice.text}
        return message | self.reasoning_delta(choice.reasoning) if choice.reasoning else message

    def logprobs(self, tokens: Iterable[TokenLogprob]) -> dict[str, Any]:
        content = [_entry(token) | {"top_logprobs": [_entry(other) for other in token.top]} for token in tokens]
        return {"content": content}


class TgiCompletionExchange(Accent, CompletionExchange):
    """A choice has no log-probabilities, whatever was asked for."""

    def chunk(self, choice: dict[str, Any]) -> dict[str, Any]:
        """Only the last has usage; its keys come in another order than the others'."""
        envelope = super().chunk(choice)
        if choice["finish_reason"]:
            usage = self.seen.choices[choice["index"]].end.usage
            return envelope | {"usage": self.usage_object(usage)}
        return {key: envelope[key] for key in ("object", "id", "created", "choices", "model", "system_fingerprint")}

    def chunk_choice(self, index: int, text: str, finish_reason: str | None = None) -> dict[str, Any]:
        return {"index": index, "text": text, "logprobs": None, "finish_reason": finish_reason or ""}

    def finish_choice(self, event: Finished) -> dict[str, Any]:
        return self.chunk_choice(event.index, "", FINISH_REASONS[event.reason])

    def body_choice(self, choice: CompletedChoice) -> dict[str, Any]:
        return self.chunk_choice(choice.index, choice.text, self.finish_reason(choice.end))


def _entry(token: TokenLogprob) -> dict[str, Any]:
    return {"token": token_name(token), "logprob": token.logprob}


async def chat(call: Call) -> TgiChatExchange:
    body = TgiChatBody.parse(call)
    return TgiChatExchange(call, resolve(call, body.model), body.request(call.id), body.options())


async def completions(call: Call) -> TgiCompletionExchange:
    body = TgiCompletionBody.parse(call)
    return TgiCompletionExchange(call, resolve(call, body.model), body.request(call.id), body.options())
