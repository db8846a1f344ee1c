"""POST /api/v1/generate and /api/extra/generate/stream, which others may look at and end by their `genkey`.

`length` is every end but the model's own, a stop sequence included. Wire facts: koboldcpp.py 1.115 (generate_text,
handle_sse_stream, parse_last_logprobs).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from typing_extensions import assert_never

from adapters import framing
from adapters.base import Call, KeepAlive, Reply, Served
from adapters.generations import Generations, owner_of
from adapters.kobold.body import GenerateBody
from adapters.kobold.http import json_reply, python_json
from backends.errors import DragomanError
from backends.events import (
    CompletedChoice,
    Completion,
    Event,
    Finished,
    FinishReason,
    Prefilled,
    Reasoning,
    Started,
    Text,
    TokenLogprob,
    ToolCallArguments,
    ToolCallStarted,
)
from backends.request import GenerateRequest

FINISH_REASONS: Mapping[FinishReason, str] = {
    "end": "stop",
    "stop_string": "length",
    "length": "length",
    "tool_calls": "stop",
}


class GenerateExchange:
    content_type: ClassVar[str] = framing.SSE

    def __init__(self, served: Served, request: GenerateRequest, *, streams: bool) -> None:
        self.request = request
        self.served = served
        self.streams = streams
        self.headers: Mapping[str, str] = {"Cache-Control": "no-cache, no-store"}
        self.keep_alive: KeepAlive | None = None

    def frames(self, event: Event) -> Iterable[bytes]:
        """The end is told alone."""
        match event:
            case Text():
                return (_frame(event.text, None),) if event.text else ()
            case Finished():
                return (_frame("", FINISH_REASONS[event.reason]),)
            case Started() | Prefilled() | Reasoning() | ToolCallStarted() | ToolCallArguments():
                return ()
            case _:
                assert_never(event)

    def tail(self) -> Iterable[bytes]:
        return ()

    def failure(self, error: DragomanError) -> Iterable[bytes]:
        return (_frame("", "error", error=error.message),)

    def reply(self, completion: Completion) -> Reply:
        return json_reply({"results": [self._result(choice) for choice in completion.ordered]})

    def _result(self, choice: CompletedChoice) -> dict[str, Any]:
        return {
            "text": choice.text,
            "tool_calls": [],
            "finish_reason": FINISH_REASONS[choice.end.reason],
            "logprobs": None if self.request.top_logprobs is None else logprobs(choice.logprobs),
            "prompt_tokens": choice.end.usage.prompt_tokens,
            "completion_tokens": choice.end.usage.completion_tokens,
        }


def _frame(token: str, finish_reason: str | None, **more: str) -> bytes:
    shape = {"token": token, "finish_reason": finish_reason, **more}
    return b"event: message\ndata: " + python_json(shape) + b"\n\n"


def logprobs(tokens: Sequence[TokenLogprob]) -> dict[str, list[Any]]:
    """OpenAI's two shapes in one: the chat's `content` beside the text's parallel lists."""
    shape: dict[str, list[Any]] = {
        "content": [], "tokens": [], "token_ids": [], "token_logprobs": [], "top_logprobs": [], "text_offset": [],
    }  # fmt: skip
    offset = 0
    for token in tokens:
        text = _text(token)
        row = {
            "content": _entry(token) | {"top_logprobs": [_entry(other) for other in token.top]},
            "tokens": text,
            "token_ids": token.id,
            "token_logprobs": token.logprob,
            "top_logprobs": {_text(other): other.logprob for other in token.top},
            "text_offset": offset,
        }
        for name, value in row.items():
            shape[name].append(value)
        offset += len(text)
    return shape


def _entry(token: TokenLogprob) -> dict[str, Any]:
    text = _text(token)
    return {"token": text, "token_id": token.id, "logprob": token.logprob, "bytes": list(text.encode())}


def _text(token: TokenLogprob) -> str:
    """Bytes that are no text by themselves are left out."""
    return token.bytes.decode("utf-8", "ignore")


class Generating:
    """The two verbs. generations: where others find the answers."""

    def __init__(self, generations: Generations) -> None:
        self._generations = generations

    async def generate(self, call: Call) -> GenerateExchange:
        return await self._begin(call, streams=False)

    async def stream(self, call: Call) -> GenerateExchange:
        return await self._begin(call, streams=True)

    async def _begin(self, call: Call, *, streams: bool) -> GenerateExchange:
        body = GenerateBody.parse(call)
        served = call.models.resolve(None)
        request = body.request(call.id, await _banned(call, served, body))
        generation = self._generations.begin((owner_of(call), body.genkey), request.n, request.sampling.seed)
        call.tap = generation.watch
        return GenerateExchange(served, request, streams=streams)


async def _banned(call: Call, served: Served, body: GenerateBody) -> Sequence[int]:
    """The phrases that are one token each; longer ones can't be kept out by banning tokens, and are reported."""
    if not body.phrases:
        return ()
    async with call.models.acquire(served) as backend:
        spelt = [await backend.tokenize(phrase, add_special=False) for phrase in body.phrases]
    if any(len(token_ids) != 1 for token_ids in spelt):
        call.ignored.append("banned_strings" if "banned_strings" in body else "banned_tokens")
    return [token_ids[0] for token_ids in spelt if len(token_ids) == 1]
