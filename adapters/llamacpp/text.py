"""POST /v1/completions as llama.cpp answers it, and /completions, where native clients and OpenAI's meet.

Log-probabilities have the shape of a chat's; the last chunk always has usage and timings. Source: llama.cpp
tools/server/server-task.cpp (to_json_oaicompat).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from adapters.base import Call, Reply
from adapters.framing import DONE, sse
from adapters.llamacpp.chat_body import read_request
from adapters.llamacpp.common import json_reply
from adapters.llamacpp.completion import CompletionExchange
from adapters.llamacpp.errors import read_object
from adapters.llamacpp.openai import Accent
from adapters.llamacpp.prompt import read_prompts
from adapters.llamacpp.request import Asked, read_fields, resolve, to_request
from adapters.llamacpp.timings import final_timings, progress
from adapters.openai.completions import CompletionExchange as OpenAICompletionExchange
from backends.events import CompletedChoice, Completion, Event, Finished, Prefilled, Started, Text


class LlamaTextExchange(Accent, OpenAICompletionExchange):
    def frames(self, event: Event) -> Iterable[bytes]:
        self.observe(event)
        return self.on_prefilled(event) if isinstance(event, Prefilled) else super().frames(event)

    def tail(self) -> Iterable[bytes]:
        yield DONE

    def on_started(self, event: Started) -> Iterable[bytes]:
        self.note(event)
        if event.index > 0 and event.index % self.request.n == 0:
            # llama-server marks the begin of each prompt, and holds back the first mark only
            yield sse(None)

    def on_prefilled(self, event: Prefilled) -> Iterable[bytes]:
        if not self.fields.return_progress:
            return ()
        chunk = self.chunk(self.chunk_choice(event.index, ""))
        return (self.frame(chunk | {"prompt_progress": progress(event)}),)

    def on_text(self, event: Text) -> Iterable[bytes]:
        if self.is_plain and not event.logprobs:
            return (self.filled(event.index, event.text, lambda text: self.chunk_choice(event.index, text)),)
        return (self.detailed(self.chunk_choice(event.index, event.text), event.logprobs),)

    def on_finished(self, event: Finished) -> Iterable[bytes]:
        self.note(event)
        if event.reason == "stop_string":  # the token that completes a stop string has a chunk with timings
            chunk = self.chunk(self.chunk_choice(event.index, ""))
            yield self.frame(chunk | {"timings": final_timings(event)})
        envelope = self.envelope(self.chunk_object, [self.chunk_choice(event.index, "", self.finish_reason(event))])
        yield self.frame(self.closing(envelope, event.usage, event))

    def chunk_choice(self, index: int, text: str, finish_reason: str | None = None) -> dict[str, Any]:
        return {"text": text, "index": index, "logprobs": None, "finish_reason": finish_reason}

    def body_choice(self, choice: CompletedChoice) -> dict[str, Any]:
        shape = self.chunk_choice(choice.index, choice.text, self.finish_reason(choice.end))
        if choice.logprobs:
            shape["logprobs"] = self.content_logprobs(choice.logprobs)
        return shape


class BilingualExchange(LlamaTextExchange):
    """A stream is OpenAI's; a whole answer is native and OpenAI's at once, so that both kinds of client can read it."""

    def __init__(self, call: Call, asked: Asked) -> None:
        super().__init__(call, asked)
        self._native = CompletionExchange(asked)

    def reply(self, completion: Completion) -> Reply:
        native = self._native.whole(completion.ordered[0])
        return json_reply(native | self.body(completion))


async def completion(call: Call) -> CompletionExchange:
    """POST /completion, /completions, /v1/completion."""
    return CompletionExchange(await _read(call, read_object(call)))


async def bilingual(call: Call) -> BilingualExchange:
    """POST /completions, for a client that is plainly OpenAI's and can't read the native answer."""
    return BilingualExchange(call, await _read(call, read_object(call)))


async def completions(call: Call) -> LlamaTextExchange:
    """POST /v1/completions."""
    return LlamaTextExchange(call, await _read(call, read_object(call)))


async def _read(call: Call, body: Mapping[str, Any]) -> Asked:
    """Messages without a prompt are a chat that was sent to the wrong route (Twinny's llama.cpp provider); beside a
    prompt they are another server's (coLLaMA sends Cody's) and count for nothing."""
    served = resolve(call, body)
    if body.get("prompt") is None and isinstance(body.get("messages"), list):
        return await read_request(call, body, served)
    prompts = read_prompts(body, served.info.vocab_size)
    fields = await read_fields(call, body, served, frozenset({"prompt"}))
    return Asked(served, to_request(call, prompts, fields, served), fields)
