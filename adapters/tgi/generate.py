"""POST /generate, /generate_stream, and `/`, which is either and puts a whole answer into a list.

An event is one token. The last one carries the whole text, and is told apart by nothing else: so the token that ends
an answer is held until its end is known, which is where the length or a stop string says so already; an answer that
the model ends has its end-of-text token there. Wire facts: text-generation-inference router/src/server.rs
(generate_internal, generate_stream_internal), lib.rs (StreamResponse, Details).
"""

from __future__ import annotations

import codecs
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from typing_extensions import assert_never

from adapters import axum, framing
from adapters.base import Call, KeepAlive, Reply, Served
from adapters.framing import to_json
from adapters.tgi.body import GenerateBody
from adapters.tgi.errors import failure_frames
from backends.errors import DragomanError, Unsupported
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
from backends.request import GenerateRequest, TextPrompt

FINISH_REASONS: Mapping[FinishReason, str] = {
    "end": "eos_token",
    "stop_string": "stop_sequence",
    "length": "length",
    "tool_calls": "eos_token",
}
COMPUTE_TYPE = "cpu"
KEEP_ALIVE = KeepAlive(15.0, lambda: b":\n\n")  # axum's default
STREAM_HEADERS: Mapping[str, str] = {
    "x-compute-type": COMPUTE_TYPE,
    "x-accel-buffering": "no",
    "Cache-Control": "no-cache",
}


class GenerateExchange:
    """end_token: the model's end of text, as a token of the wire. in_list: a whole answer is the one item of a list."""

    content_type: ClassVar[str] = framing.SSE

    def __init__(
        self,
        call: Call,
        served: Served,
        request: GenerateRequest,
        body: GenerateBody,
        *,
        streams: bool,
        in_list: bool,
        end_token: dict[str, Any],
    ) -> None:
        self.request = request
        self.served = served
        self.streams = streams
        self.headers: Mapping[str, str] = {**STREAM_HEADERS, "x-compute-characters": str(len(body.inputs))}
        self.keep_alive: KeepAlive | None = KEEP_ALIVE
        self._call = call
        self._asked = body.parameters
        self._inputs = body.inputs
        self._in_list = in_list
        self._end_token = end_token
        self._index = 0
        self._text = body.inputs if body.parameters.return_full_text else ""
        self._num_left = served.info.window  # tokens until the length ends the answer
        self._held: dict[str, Any] | None = None
        self._prompt_tokens = 0

    # streamed

    def frames(self, event: Event) -> Iterable[bytes]:
        match event:
            case Text():
                return self._on_text(event)
            case Started():
                self._prompt_tokens = event.prompt_tokens
                room = self.served.info.window - event.prompt_tokens
                self._num_left = min(self.request.max_tokens or room, room)
                return ()
            case Finished():
                return (axum.event(self._last(event)),)
            case Prefilled() | Reasoning() | ToolCallStarted() | ToolCallArguments():
                return ()
            case _:
                assert_never(event)

    def _on_text(self, event: Text) -> Iterable[bytes]:
        """Tokens of one character that several make have no text, but for the last."""
        if self._held is not None:  # what looked like a stop string was none
            yield axum.event(self._held)
            self._held = None
        self._text += event.text
        tokens = event.logprobs or tuple(_unrated(token_id) for token_id in event.token_ids or (0,))
        self._num_left -= len(event.token_ids)
        is_last = self._num_left <= 0 or self._text.endswith(self.request.stop or ("\0\0",))
        for place, token in enumerate(tokens, 1):
            shape = self._event(token, event.text if place == len(tokens) else "")
            if is_last and place == len(tokens):
                self._held = shape
            else:
                yield axum.event(shape)

    def _event(self, token: TokenLogprob, text: str) -> dict[str, Any]:
        shape: dict[str, Any] = {"index": self._count(), "token": token_object(token, text)}
        if self._asked.top_n_tokens:
            shape["top_tokens"] = _top(token)
        return shape | {"generated_text": None, "details": None}

    def _count(self) -> int:
        self._index += 1
        return self._index

    def _last(self, event: Finished) -> dict[str, Any]:
        shape = self._held or {"index": self._count(), "token": self._end_token}
        details = None
        if self._asked.details:
            details = {
                "finish_reason": FINISH_REASONS[event.reason],
                "generated_tokens": max(event.usage.completion_tokens, self._index),
                "seed": self._seed(),
                "input_length": self._prompt_tokens,
            }
        return shape | {"generated_text": self._text, "details": details}

    def tail(self) -> Iterable[bytes]:
        return ()

    def failure(self, error: DragomanError) -> Iterable[bytes]:
        return failure_frames(error, self._call)

    # whole

    def reply(self, completion: Completion) -> Reply:
        """Of several answers that with the likeliest tokens."""
        best, *others = sorted(completion.ordered, key=_mean_logprob, reverse=True)
        body: dict[str, Any] = {"generated_text": self._whole_text(best)}
        if self._asked.details or self._asked.decoder_input_details:
            body["details"] = self._details(best, others)
        headers = reply_headers(self._call, len(self._inputs), completion)
        return Reply(to_json([body] if self._in_list else body), headers=headers)

    def _whole_text(self, choice: CompletedChoice) -> str:
        return self._inputs + choice.text if self._asked.return_full_text else choice.text

    def _details(self, best: CompletedChoice, others: Sequence[CompletedChoice]) -> dict[str, Any]:
        details = self._sequence(best)
        if others:
            details["best_of_sequences"] = [
                {"generated_text": self._whole_text(other)} | self._sequence(other) for other in others
            ]
        return details

    def _sequence(self, choice: CompletedChoice) -> dict[str, Any]:
        tokens = _with_texts(choice.logprobs)
        if choice.end.usage.completion_tokens > len(tokens):
            tokens.append(self._end_token)
        prompt = zip(choice.started.prompt_token_ids, choice.started.prompt_logprobs, strict=False)
        shape: dict[str, Any] = {
            "finish_reason": FINISH_REASONS[choice.end.reason],
            "generated_tokens": len(tokens),
            "seed": self._seed(),
            "prefill": [_prefill(token_id, token) for token_id, token in prompt],
            "tokens": tokens,
        }
        if self._asked.top_n_tokens:
            shape["top_tokens"] = [
                [token_object(other, other.text) for other in token.top] for token in choice.logprobs
            ]
        return shape

    def _seed(self) -> int | None:
        return self.request.sampling.seed if self._asked.samples else None


def token_object(token: TokenLogprob, text: str, *, special: bool = False) -> dict[str, Any]:
    return {"id": token.id, "text": text, "logprob": token.logprob, "special": special}


def _top(token: TokenLogprob) -> list[dict[str, Any]]:
    return [token_object(other, other.text) for other in token.top]


def _unrated(token_id: int) -> TokenLogprob:
    """Where a backend tells no log-probability."""
    return TokenLogprob(token_id, "", b"", 0.0)


def _prefill(token_id: int, token: TokenLogprob | None) -> dict[str, Any]:
    """The first has no log-probability: NaN there, which serde writes as null."""
    if token is None:
        return {"id": token_id, "text": "", "logprob": None}
    return {"id": token_id, "text": token.text, "logprob": token.logprob}


def _with_texts(tokens: Sequence[TokenLogprob]) -> list[dict[str, Any]]:
    """A character that several tokens make is the last one's."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    return [token_object(token, decoder.decode(token.bytes)) for token in tokens]


def _mean_logprob(choice: CompletedChoice) -> float:
    return sum(token.logprob for token in choice.logprobs) / max(1, len(choice.logprobs))


def reply_headers(call: Call, num_characters: int, completion: Completion) -> Mapping[str, str]:
    """Times in whole milliseconds, but for x-compute-time."""
    usage, timings = completion.usage, completion.ordered[-1].end.timings
    total_s = max(0.0, time.time() - call.received)
    inference_s = timings.prefill_s + timings.decode_s
    return {
        "x-compute-type": COMPUTE_TYPE,
        "x-compute-time": str(total_s),
        "x-compute-characters": str(num_characters),
        "x-total-time": _ms(total_s),
        "x-validation-time": "0",
        "x-queue-time": _ms(timings.queue_s),
        "x-inference-time": _ms(inference_s),
        "x-time-per-token": _ms(inference_s / max(1, usage.completion_tokens)),
        "x-prompt-tokens": str(usage.prompt_tokens),
        "x-generated-tokens": str(usage.completion_tokens),
    }


def _ms(seconds: float) -> str:
    return str(int(seconds * 1000))


async def generate(call: Call) -> GenerateExchange:
    return await _exchange(call, GenerateBody.parse(call), streams=False)


async def generate_stream(call: Call) -> GenerateExchange:
    return await _exchange(call, GenerateBody.parse(call), streams=True)


async def compat(call: Call) -> GenerateExchange:
    """POST /: as `stream` says; Hugging Face's InferenceClient asks here."""
    body = GenerateBody.parse(call)
    return await _exchange(call, body, streams=body.stream, in_list=not body.stream)


async def _exchange(call: Call, body: GenerateBody, *, streams: bool, in_list: bool = False) -> GenerateExchange:
    """Raises Rejected."""
    call.ignored += [f"parameters.{name}" for name in body.parameters.model_extra or ()]
    served = call.models.resolve(None)
    body.check(served.info.window, streams=streams)
    prompt = await _prompt(call, served, body)
    return GenerateExchange(
        call,
        served,
        body.request(call.id, prompt, streams=streams),
        body,
        streams=streams,
        in_list=in_list,
        end_token=await _end_token(call, served),
    )


async def _prompt(call: Call, served: Served, body: GenerateBody) -> TextPrompt:
    """truncate: so many tokens of the end are kept."""
    truncate = body.parameters.truncate
    if truncate is None:
        return TextPrompt((body.inputs,))
    async with call.models.acquire(served) as backend:
        token_ids = await backend.tokenize(body.inputs, add_special=True)
    return TextPrompt((tuple(token_ids[-truncate:]),), add_special=False)


async def _end_token(call: Call, served: Served) -> dict[str, Any]:
    """Its id is 0 where the model's tokens aren't known."""
    text = served.info.eos_token
    try:
        async with call.models.acquire(served) as backend:
            token_ids = await backend.tokenize(text, add_special=False) if text else []
    except Unsupported:
        token_ids = []
    token = _unrated(token_ids[0] if len(token_ids) == 1 else 0)
    return token_object(token, text, special=True)
