"""What llama.cpp's two OpenAI routes have in common in their answers: envelope, usage, timings, errors.

Source: llama.cpp tools/server/server-task.cpp (to_json_oaicompat, usage_json_oaicompat).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from typing_extensions import assert_never

from adapters.base import Call, Reply
from adapters.llamacpp.common import BUILD_INFO, STREAM_HEADERS, json_reply
from adapters.llamacpp.errors import error_object
from adapters.llamacpp.request import Asked
from adapters.llamacpp.timings import Stopwatch, final_timings, probabilities
from adapters.openai.common import AnswerOptions
from adapters.openai.exchange import OpenAIExchange
from backends.errors import DragomanError
from backends.events import (
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
    Usage,
)


class Accent(OpenAIExchange):
    """Comes before an OpenAI exchange among a class's bases, and makes it speak as llama.cpp does."""

    id_prefix = "chatcmpl"

    def __init__(self, call: Call, asked: Asked) -> None:
        super().__init__(call, asked.served, asked.request, AnswerOptions(streams=asked.fields.stream))
        self.headers: Mapping[str, str] = STREAM_HEADERS
        self.keep_alive = asked.keep_alive
        self.model = asked.served.name  # never the name that the client used
        self.fingerprint: str | None = BUILD_INFO
        self.fields = asked.fields
        self.is_plain = not asked.fields.timings_per_token
        self.watches: dict[int, Stopwatch] = {}

    def observe(self, event: Event) -> None:
        """Must hear of every event before its chunk is made: timings are taken here, where they are told."""
        match event:
            case Text() | Reasoning():
                if not self.is_plain:
                    self.watches[event.index].count(len(event.token_ids) or 1)
            case Started():
                self.watches[event.index] = Stopwatch(event)
            case Prefilled():
                self.watches[event.index].prefilled = event
            case ToolCallStarted() | ToolCallArguments() | Finished():
                pass
            case _:
                assert_never(event)

    def detailed(self, choice: dict[str, Any], logprobs: Iterable[TokenLogprob]) -> bytes:
        """A chunk with more than text to it."""
        if logprobs:
            choice["logprobs"] = self.content_logprobs(logprobs)
        chunk = self.chunk(choice)
        if self.fields.timings_per_token:
            chunk["timings"] = self.watches[choice["index"]].timings()
        return self.frame(chunk)

    def reply(self, completion: Completion) -> Reply:
        return json_reply(self.body(completion))

    def body(self, completion: Completion) -> dict[str, Any]:
        choices = completion.ordered
        envelope = self.envelope(self.body_object, [self.body_choice(choice) for choice in choices])
        return self.closing(envelope, completion.usage, choices[0].end)

    def closing(self, envelope: dict[str, Any], usage: Usage, end: Finished) -> dict[str, Any]:
        """The envelope with what comes once only: usage and timings."""
        answer_id = envelope.pop("id")
        return envelope | {"usage": self.usage_object(usage), "id": answer_id, "timings": final_timings(end)}

    def envelope(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "choices": choices,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
            "object": kind,
            "id": self.id,
        }

    def usage_object(self, usage: Usage) -> dict[str, Any]:
        return {
            "completion_tokens": usage.completion_tokens,
            "prompt_tokens": usage.prompt_tokens,
            "total_tokens": usage.total_tokens,
            "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        }

    def content_logprobs(self, tokens: Iterable[TokenLogprob]) -> dict[str, Any]:
        """The same on both routes, with the native objects."""
        return {"content": probabilities(tokens, is_post_sampling=self.fields.post_sampling_probs)}

    def error_object(self, error: DragomanError) -> dict[str, Any]:
        return {"error": error_object(error)}
