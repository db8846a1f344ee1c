"""POST /v1/chat/completions as llama.cpp answers it, and what else is asked of a chat: its prompt.

The first delta's content is null, a call's first piece comes with its name, `timings` ride on the last chunk. Source:
llama.cpp tools/server/server-task.cpp (to_json_oaicompat_chat*) and server-chat.cpp.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from adapters.base import Call, Reply
from adapters.framing import DONE
from adapters.llamacpp.chat_body import read_chat, read_request
from adapters.llamacpp.common import json_reply
from adapters.llamacpp.errors import read_keys
from adapters.llamacpp.openai import Accent
from adapters.llamacpp.request import Asked, resolve
from adapters.llamacpp.timings import final_timings, progress
from adapters.openai.chat import ChatExchange
from backends.base import Backend
from backends.events import (
    CompletedChoice,
    Event,
    Finished,
    Prefilled,
    Reasoning,
    Started,
    Text,
    ToolCallArguments,
    ToolCallStarted,
)
from backends.request import ChatPrompt


class LlamaChatExchange(Accent, ChatExchange):
    """The beginning of an answer that the client sent is repeated in a whole answer, and not in a stream."""

    reasoning_fields = ("reasoning_content",)
    named_call_reason = "tool_calls"

    def __init__(self, call: Call, asked: Asked) -> None:
        super().__init__(call, asked)
        self._prefill = asked.prefill
        self._greeted: set[int] = set()  # choices whose role was sent
        self._unsent: dict[int, ToolCallStarted] = {}  # by choice: a call whose first piece hasn't come

    # streamed

    def frames(self, event: Event) -> Iterable[bytes]:
        """The role comes with the first token, not before."""
        self.observe(event)
        if isinstance(event, Prefilled):
            return self.on_prefilled(event)
        if isinstance(event, Started) or event.index in self._greeted:
            return super().frames(event)
        self._greeted.add(event.index)
        return (self._greeting(event.index), *super().frames(event))

    def _greeting(self, index: int) -> bytes:
        return self.frame(self.chunk(self.chunk_choice(index, self.first_delta())))

    def tail(self) -> Iterable[bytes]:
        if self.fields.stream_options:
            usage = self.chunk_of([]) | {"usage": self.usage_object(self.seen.usage)}
            yield self.frame(usage | {"timings": final_timings(self.seen.ordered[0].end)})
        yield DONE

    def on_started(self, event: Started) -> Iterable[bytes]:
        self.note(event)
        return ()

    def on_prefilled(self, event: Prefilled) -> Iterable[bytes]:
        if not self.fields.return_progress:
            return ()
        chunk = self.chunk(self.chunk_choice(event.index, self.first_delta()))
        return (self.frame(chunk | {"prompt_progress": progress(event)}),)

    def on_text(self, event: Text) -> Iterable[bytes]:
        if not event.text:  # tokens of a stop string, or of a code point that isn't complete
            return ()
        if self.is_plain and not event.logprobs:
            return super().on_text(event)
        return (self.detailed(self.chunk_choice(event.index, self.text_delta(event.text)), event.logprobs),)

    def on_reasoning(self, event: Reasoning) -> Iterable[bytes]:
        if not event.text:
            return ()
        if self.is_plain:
            return super().on_reasoning(event)
        return (self.detailed(self.chunk_choice(event.index, self.reasoning_delta(event.text)), ()),)

    def on_call_started(self, event: ToolCallStarted) -> Iterable[bytes]:
        frames = tuple(self._unsent_call(event.index))
        self._unsent[event.index] = event
        return frames

    def on_call_arguments(self, event: ToolCallArguments) -> Iterable[bytes]:
        if not event.text:
            return ()
        if event.index in self._unsent:
            return tuple(self._unsent_call(event.index, event.text))
        return super().on_call_arguments(event)

    def on_finished(self, event: Finished) -> Iterable[bytes]:
        self.note(event)
        yield from self._unsent_call(event.index)
        chunk = self.chunk(self.chunk_choice(event.index, {}, self.finish_reason(event)))
        if not self.fields.stream_options:
            chunk["timings"] = final_timings(event)
        yield self.frame(chunk)

    def _unsent_call(self, index: int, arguments: str = "") -> Iterable[bytes]:
        started = self._unsent.pop(index, None)
        if started is not None:
            function = {"name": started.name} | ({"arguments": arguments} if arguments else {})
            call = {"index": started.call, "id": started.id, "type": "function", "function": function}
            yield self.frame(self.chunk(self.chunk_choice(index, {"tool_calls": [call]})))

    # shapes

    def chunk(self, choice: dict[str, Any]) -> dict[str, Any]:
        return self.chunk_of([choice])

    def chunk_of(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "choices": choices,
            "created": self.created,
            "id": self.id,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
            "object": self.chunk_object,
        }

    def chunk_choice(self, index: int, delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        return {"finish_reason": finish_reason, "index": index, "delta": delta}

    def first_delta(self) -> dict[str, Any]:
        return {"role": "assistant", "content": None}

    def body_choice(self, choice: CompletedChoice) -> dict[str, Any]:
        shape = self.chunk_choice(choice.index, {}, self.finish_reason(choice.end))
        del shape["delta"]
        shape["message"] = self.message(choice)
        if choice.logprobs:
            shape["logprobs"] = self.content_logprobs(choice.logprobs)
        return shape

    def message(self, choice: CompletedChoice) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": self._prefill + choice.text}
        if choice.reasoning:
            message["reasoning_content"] = choice.reasoning
        if choice.tool_calls:
            message["tool_calls"] = [
                {"type": "function", "function": {"name": call.name, "arguments": call.arguments}, "id": call.id}
                for call in choice.tool_calls
            ]
        return message


async def chat(call: Call) -> LlamaChatExchange:
    body = read_keys(call)
    return LlamaChatExchange(call, await read_request(call, body, resolve(call, body)))


async def apply_template(call: Call) -> Reply:
    body = read_keys(call)
    served = resolve(call, body)
    prompt = read_chat(call, body, served).prompt
    async with call.models.acquire(served) as backend:
        return json_reply({"prompt": await _rendered(backend, prompt)})


async def _rendered(backend: Backend, prompt: ChatPrompt) -> str:
    """Without the BOS that the tokenizer adds: clients send this text to /completion."""
    return (await backend.render_chat(prompt)).removeprefix(backend.info.bos_token)


async def count_tokens(call: Call, body: Mapping[str, Any]) -> int:
    """Of the prompt that a chat's body makes, as it would be evaluated. Raises as read_chat does."""
    served = resolve(call, body)
    prompt = read_chat(call, body, served).prompt
    async with call.models.acquire(served) as backend:
        return len(await backend.tokenize(await backend.render_chat(prompt), add_special=False))
