"""The dialect of FauxPilot, a Copilot server of 2022 on CodeGen: its engine's completions, and its own refusals.

JSON has blanks, as json.dumps writes it; lines of a stream end in CRLF, as sse-starlette's did. `frequency_penalty` is
1 by default and a repetition penalty. Wire facts: fauxpilot copilot_proxy/app.py, models.py, utils/codegen.py,
utils/errors.py.

Where it differs from the server on purpose: any model name is taken; a suffix is filled up to, where FauxPilot passes
it over; `stream: false` isn't streamed; and a stream brings the text as it comes, where FauxPilot sends it whole.
"""

from __future__ import annotations

import json
import random
import string
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from adapters.base import Call, Dialect, Reply, Served
from adapters.fastapi import unknown_route, wrong_method
from adapters.framing import HOLE, to_json
from adapters.llamacpp_python.answer import SpacedTemplate
from adapters.openai.common import AnswerOptions, resolve
from adapters.openai.completions import CompletionBody, CompletionExchange
from adapters.openai.errors import error_object
from backends.errors import DragomanError, InvalidField, MalformedBody, MissingField, PromptTooLong
from backends.events import CompletedChoice, Completion, Finished, Usage
from backends.request import GenerateRequest, Sampling


class FauxPilotBody(CompletionBody):
    """Temperature 0 is greedy."""

    frequency_penalty: float | None = None

    def sampling(self) -> Sampling:
        sampling = super().sampling()
        sampling.temperature = 0.6 if self.temperature is None else self.temperature
        sampling.top_p = 1.0 if self.top_p is None else self.top_p
        sampling.top_k, sampling.min_p = 0, 0.0
        sampling.repetition_penalty = self.frequency_penalty or 1.0
        sampling.frequency_penalty = sampling.presence_penalty = 0.0
        return sampling


class FauxPilotExchange(CompletionExchange):
    content_type: ClassVar[str] = "text/event-stream; charset=utf-8"

    def __init__(self, call: Call, served: Served, request: GenerateRequest, options: AnswerOptions) -> None:
        super().__init__(call, served, request, options)
        self.id = "cmpl-" + "".join(random.choices(string.ascii_letters + string.digits, k=29))
        self.model = "codegen"

    def envelope(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {"id": self.id, "model": self.model, "object": kind, "created": self.created, "choices": choices}

    def chunk(self, choice: dict[str, Any]) -> dict[str, Any]:
        return self.envelope(self.chunk_object, [choice])

    def chunk_choice(self, index: int, text: str, finish_reason: str | None = None) -> dict[str, Any]:
        return {"text": text, "index": index, "finish_reason": finish_reason, "logprobs": None}

    def finish_choice(self, event: Finished) -> dict[str, Any]:
        return self.chunk_choice(event.index, "", self.finish_reason(event))

    def body_choice(self, choice: CompletedChoice) -> dict[str, Any]:
        shape = super().body_choice(choice)
        return {name: shape[name] for name in ("text", "index", "finish_reason", "logprobs")}

    def usage_object(self, usage: Usage) -> dict[str, Any]:
        return {
            "completion_tokens": usage.completion_tokens,
            "prompt_tokens": usage.prompt_tokens,
            "total_tokens": usage.total_tokens,
        }

    def reply(self, completion: Completion) -> Reply:
        return Reply(json.dumps(self.body(completion)).encode())

    def tail(self) -> Iterable[bytes]:
        return (b"data: [DONE]\r\n\r\n",)

    def failure(self, error: DragomanError) -> Iterable[bytes]:
        return (self.frame(error_object(error)),)

    def frame(self, value: dict[str, Any]) -> bytes:
        return b"data: " + json.dumps(value).encode() + b"\r\n\r\n"

    def filled(self, key: Hashable, text: str, choice: Callable[[str], dict[str, Any]]) -> bytes:
        template = self._templates.get(key)
        if template is None:
            template = self._templates[key] = SpacedTemplate(self.frame(self.chunk(choice(HOLE))))
        return template.fill(text)


async def completions(call: Call) -> FauxPilotExchange:
    """The path names the engine, not the model: that is the body's, if anybody's."""
    body = FauxPilotBody.parse(call)
    return FauxPilotExchange(call, resolve(call, body.model), body.request(call.id), body.options())


def error_reply(error: DragomanError, _call: Call) -> Reply:
    """FastAPI turns a body away with 422; FauxPilot itself says 400 in OpenAI's words."""
    match error:
        case MalformedBody():
            return _invalid(["body", error.position], f"{error.message}", "value_error.jsondecode")
        case MissingField():
            return _invalid(["body", str(error.param)], "field required", "value_error.missing")
        case InvalidField():
            return _invalid(["body", *str(error.param).split(".")], error.reason, "value_error")
        case PromptTooLong():
            message = (
                f"This model's maximum context length is {error.window}, however you requested "
                f"{error.num_prompt_tokens} tokens. Please reduce your prompt; or completion length."
            )
            shape = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
            return Reply(to_json({"error": shape}), 400)
        case _:
            return Reply(to_json(error_object(error)), error.status)


def _invalid(place: Sequence[str | int], message: str, kind: str) -> Reply:
    return Reply(to_json({"detail": [{"loc": place, "msg": message, "type": kind}]}), 422)


def preflight(call: Call) -> Reply:
    """It has no CORS: a page asks in vain."""
    return wrong_method(call, ["POST"])


def cors(_origin: str | None) -> Mapping[str, str]:
    return {}


DIALECT = Dialect(
    name="fauxpilot",
    verbs={"completions": completions},
    error=error_reply,
    unknown_route=unknown_route,
    wrong_method=wrong_method,
    preflight=preflight,
    cors=cors,
    headers={"Server": "uvicorn"},
)
