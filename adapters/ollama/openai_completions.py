"""POST /v1/completions on Ollama's listener: the prompt goes through the chat template, as on /api/generate.

Wire facts: ollama middleware/openai.go (CompleteWriter, CompletionsMiddleware), openai/openai.go (ToCompletion,
ToCompleteChunk, FromCompleteRequest).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from adapters.base import Call, Exchange, Reply
from adapters.framing import DONE, SSE
from adapters.ollama.body import GoInt
from adapters.ollama.errors import Rejected
from adapters.ollama.generate import GenerateBody
from adapters.ollama.openai import Accent, GenerationBody, encoded, go_type_name
from adapters.ollama.shapes import to_logprobs
from adapters.openai.completions import CompletionExchange
from backends.events import CompletedChoice, Finished, Started, Text, Usage


class OpenAICompletionBody(GenerationBody):
    go_struct: ClassVar[str] = "CompletionRequest"

    prompt: str = ""
    suffix: str = ""
    logprobs: GoInt = 0

    def stops(self) -> list[str]:
        """Raises Rejected for what isn't text."""
        for text in self.stop if isinstance(self.stop, list) else ():
            if not isinstance(text, str):
                raise Rejected(f"invalid type for 'stop' field: {go_type_name(text)}", param="stop")
        return super().stops()

    def to_native(self) -> GenerateBody:
        """Raises Rejected."""
        return GenerateBody(
            model=self.model,
            prompt=self.prompt,
            suffix=self.suffix,
            options=self.native_options(),
            logprobs=self.logprobs > 0,
            top_logprobs=max(0, self.logprobs),
        )


class OpenAICompletionExchange(Accent, CompletionExchange):
    """Every chunk has a usage of zeros when usage was asked for, and the last one the real one."""

    def on_started(self, event: Started) -> Iterable[bytes]:
        self.note(event)
        return ()

    def on_text(self, event: Text) -> Iterable[bytes]:
        if not event.logprobs:
            return (self.filled(event.index, event.text, lambda text: self.chunk_choice(event.index, text)),)
        choice = self.chunk_choice(event.index, event.text) | {"logprobs": {"content": to_logprobs(event.logprobs)}}
        return (self.frame(self.chunk(choice)),)

    def on_finished(self, event: Finished) -> Iterable[bytes]:
        self.note(event)
        return (self.frame(self.chunk(self.chunk_choice(event.index, "", self.finish_reason(event)))),)

    def tail(self) -> Iterable[bytes]:
        if self.options.sends_usage:
            yield self.frame(self._envelope([], self.seen.usage))
        yield DONE

    def chunk(self, choice: dict[str, Any]) -> dict[str, Any]:
        return self._envelope([choice], Usage() if self.options.sends_usage else None)

    def chunk_choice(self, index: int, text: str, finish_reason: str | None = None) -> dict[str, Any]:
        return {"text": text, "index": index, "finish_reason": finish_reason}

    def body_choice(self, choice: CompletedChoice) -> dict[str, Any]:
        shape = self.chunk_choice(choice.index, choice.text, self.finish_reason(choice.end))
        return shape | {"logprobs": {"content": to_logprobs(choice.logprobs)}} if choice.logprobs else shape

    def _envelope(self, choices: list[dict[str, Any]], usage: Usage | None) -> dict[str, Any]:
        """In a chunk the choices stand before the model."""
        envelope = {
            "id": self.id,
            "object": self.chunk_object,
            "created": self.created,
            "choices": choices,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
        }
        return envelope if usage is None else envelope | {"usage": self.usage_object(usage)}

    def without_text(self, reason: str) -> Reply:
        """The whole answer where nothing is generated."""
        choice = self.chunk_choice(0, "", reason)
        if self.streams:
            return Reply(frames=[self.frame(self.chunk(choice)), *self.tail()], content_type=SSE)
        return encoded(self.envelope(self.body_object, [choice]) | {"usage": self.usage_object(Usage())})


async def completions_v1(call: Call) -> Exchange | Reply:
    """An empty prompt loads the model, as on the native route."""
    body = OpenAICompletionBody.parse(call)
    native = body.to_native()
    scheduled = await native.schedule(call, native.find(call))
    request = native.request(call, native.to_prompt(call), scheduled)
    exchange = OpenAICompletionExchange(call, scheduled.served, request, body.answer_options())
    return exchange if native.has_prompt else exchange.without_text("load")
