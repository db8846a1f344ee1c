"""The dialect of Mistral's fill-in-the-middle API, as Codestral serves it: POST /v1/fim/completions.

A text is asked for and a chat's shape answers: `message.content`, or `delta.content` in a stream, whose last chunk has
the usage. Without a suffix the prompt is just gone on with. Wire facts: mistralai 1.9 `models/fimcompletionrequest.py`,
`models/fimcompletionresponse.py`, `models/completionchunk.py`, `models/httpvalidationerror.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import Field, StrictStr

from adapters import fastapi
from adapters.base import Call, Dialect, Reply
from adapters.framing import to_json
from adapters.openai.chat import ChatExchange
from adapters.openai.common import AnswerOptions, GenerationBody, resolve
from adapters.openai.dialect import cors, preflight
from adapters.openai.errors import error_reply as openai_error
from adapters.openai.errors import unknown_route, wrong_method
from adapters.openai.exchange import FINISH_REASONS
from backends.errors import DragomanError, Unauthorized
from backends.events import CompletedChoice, Completion, Finished, Usage
from backends.request import InfillPrompt, Prompt, Sampling, TextPrompt


class FimBody(GenerationBody):
    prompt: StrictStr
    suffix: str | None = None
    random_seed: int | None = Field(default=None, ge=0)

    def prompts(self) -> tuple[Prompt, ...]:
        return (InfillPrompt(self.prompt, self.suffix) if self.suffix else TextPrompt((self.prompt,)),)

    def num_top_logprobs(self) -> int | None:
        return None

    def sampling(self) -> Sampling:
        sampling = super().sampling()
        if self.random_seed is not None:
            sampling.seed = self.random_seed
        return sampling

    def options(self) -> AnswerOptions:
        return AnswerOptions(model=self.model, streams=self.stream)


class FimExchange(ChatExchange):
    def envelope(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model, "choices": choices}

    def usage_object(self, usage: Usage) -> dict[str, Any]:
        return {
            "prompt_tokens": usage.prompt_tokens,
            "total_tokens": usage.total_tokens,
            "completion_tokens": usage.completion_tokens,
        }

    def first_delta(self) -> dict[str, Any]:
        return {"role": "assistant", "content": ""}

    def chunk_choice(self, index: int, delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        return {"index": index, "delta": delta, "finish_reason": finish_reason}

    def on_finished(self, event: Finished) -> Iterable[bytes]:
        self.note(event)
        chunk = self.chunk(self.chunk_choice(event.index, {"content": ""}, FINISH_REASONS[event.reason]))
        return (self.frame(chunk | {"usage": self.usage_object(event.usage)}),)

    def body(self, completion: Completion) -> dict[str, Any]:
        choices = [self.body_choice(choice) for choice in completion.ordered]
        return self.envelope(self.body_object, choices) | {"usage": self.usage_object(completion.usage)}

    def body_choice(self, choice: CompletedChoice) -> dict[str, Any]:
        message = {"role": "assistant", "tool_calls": None, "content": choice.text}
        return {"index": choice.index, "message": message, "finish_reason": FINISH_REASONS[choice.end.reason]}


async def fim(call: Call) -> FimExchange:
    body = FimBody.parse(call)
    return FimExchange(call, resolve(call, body.model), body.request(call.id), body.options())


def error_reply(error: DragomanError, call: Call) -> Reply:
    """What a body lacks is told as FastAPI does, with its place; everything else as OpenAI's object."""
    if isinstance(error, Unauthorized):
        return Reply(to_json({"message": "Unauthorized", "request_id": call.id}), 401)
    return fastapi.rejection(error) or openai_error(error, call)


DIALECT = Dialect(
    name="mistral",
    verbs={"fim": fim},
    error=error_reply,
    unknown_route=unknown_route,
    wrong_method=wrong_method,
    preflight=preflight,
    cors=cors,
)
