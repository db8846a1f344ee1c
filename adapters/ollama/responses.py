"""POST /v1/responses on Ollama's listener: full objects and numbered events, thought as a summary, calls whole.

Where it differs from Ollama on purpose: text before calls is an item of its own, which Ollama drops from a whole
answer and never ends in a stream; an error in the middle of a stream is told. Wire facts: ollama openai/responses.go
(ToResponse, ResponsesStreamConverter), middleware/openai.go (ResponsesWriter).
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from adapters.base import Call, Reply, Served
from adapters.ollama.json import go_json
from adapters.ollama.openai import encoded
from adapters.ollama.responses_body import ResponsesBody
from adapters.ollama.shapes import arguments, call_id, whole_calls
from adapters.openai.response_output import Payload, ReasoningItem, SummaryItem
from adapters.openai.responses import ResponsesExchange
from backends.events import (
    CompletedCall,
    CompletedChoice,
    Completion,
    Event,
    Finished,
    Started,
    ToolCallArguments,
    ToolCallStarted,
)
from backends.request import GenerateRequest, TextPrompt

_MAX_ID = 999_999
_IN_FRONT = ("id", "object", "created_at", "completed_at", "status", "incomplete_details", "model",
             "previous_response_id", "instructions", "output", "error")  # fmt: skip


@dataclass(slots=True)
class PlainThoughtItem(SummaryItem):
    """`encrypted_content` is the thought as it is."""

    def value(self, _status: str) -> dict[str, Any]:
        return self._shape([self._part(self.text)]) | {"encrypted_content": self.text}

    def opening(self) -> Iterator[Payload]:
        yield self._added(self._shape([]))

    def closing(self, status: str) -> Iterator[Payload]:
        yield self._event("reasoning_summary_text.done", summary_index=0, text=self.text)
        yield self._done(status)

    def _shape(self, summary: list[dict[str, Any]]) -> dict[str, Any]:
        return {"id": self.id, "type": "reasoning", "summary": summary}


class OllamaResponsesExchange(ResponsesExchange):
    def __init__(self, call: Call, served: Served, request: GenerateRequest, body: ResponsesBody) -> None:
        super().__init__(call, served, request, body, lambda _response: None)
        self.headers: Mapping[str, str] = {"Cache-Control": "no-cache"}
        self._id = str(random.randrange(_MAX_ID))
        self._calls: list[CompletedCall] = []

    def frames(self, event: Event) -> Iterable[bytes]:
        """A call is told when it is known that its arguments are an object."""
        match event:
            case ToolCallStarted():
                self._calls.append(CompletedCall(event.id, event.name))
                return ()
            case ToolCallArguments():
                self._calls[event.call].arguments += event.text
                return ()
            case Finished():
                return (*self._told_calls(event), *super().frames(event))
            case _:
                return super().frames(event)

    def reply(self, completion: Completion) -> Reply:
        choice = completion.ordered[0]
        self._fill(choice)
        response = self._finish(choice.end)
        return encoded({name: response[name] for name in _IN_FRONT} | response)

    def without_text(self) -> Reply:
        """The whole answer where nothing is generated."""
        nothing = (Started(0, 0), Finished(0, "end"))
        if self.streams:
            frames = [frame for event in nothing for frame in self.frames(event)]
            return Reply(frames=frames, content_type=self.content_type, headers=self.headers)
        completion = Completion(n=1)
        for event in nothing:
            completion.add(event)
        return self.reply(completion)

    def status(self, _finished: Finished) -> str:
        """An answer that was cut short is complete, too."""
        return "completed"

    def _told_calls(self, end: Finished) -> Iterator[bytes]:
        for call in whole_calls(self._calls, end):
            given = _arguments(call)
            yield from self._begin(self._new_call(call_id(call.id), call.name))
            yield from self._delta(given)

    def _fill(self, choice: CompletedChoice) -> None:
        choice.tool_calls = [*whole_calls(choice.tool_calls, choice.end)]
        for call in choice.tool_calls:
            call.id, call.arguments = call_id(call.id), _arguments(call)
        super()._fill(choice)

    def _delta(self, text: str) -> Iterator[bytes]:
        item = self._items[-1]
        item.pieces.append(text)
        yield self._frame(item.delta(text))

    def _frame(self, payload: Payload) -> bytes:
        name: str = payload["type"]
        numbered = payload | {"sequence_number": self._next_number()}
        return b"event: " + name.encode() + b"\ndata: " + go_json(_sorted(numbered)) + b"\n\n"

    def _new_reasoning(self) -> ReasoningItem:
        return PlainThoughtItem(*self._place("rs"))

    def _response(self, status: str) -> dict[str, Any]:
        return super()._response(status) | {"completed_at": None}

    def _finish(self, finished: Finished) -> dict[str, Any]:
        """What was cached and thought isn't told."""
        usage = finished.usage
        return super()._finish(finished) | {
            "completed_at": int(time.time()),
            "usage": {
                "input_tokens": usage.prompt_tokens,
                "output_tokens": usage.completion_tokens,
                "total_tokens": usage.total_tokens,
                "input_tokens_details": {"cached_tokens": 0},
                "output_tokens_details": {"reasoning_tokens": 0},
            },
        }


def _sorted(value: Any) -> Any:
    """Go writes a map's keys in the order of the alphabet; the events of a stream are maps."""
    match value:
        case dict():
            return {key: _sorted(value[key]) for key in sorted(value)}
        case list():
            return [_sorted(item) for item in value]
        case _:
            return value


def _arguments(call: CompletedCall) -> str:
    """Raises BackendFailed."""
    return go_json(arguments(call)).decode()


async def responses_v1(call: Call) -> OllamaResponsesExchange | Reply:
    """An empty input loads the model, as on the native route."""
    body = ResponsesBody.parse(call)
    native = body.to_native(call)
    scheduled = await native.schedule(call, native.find(call))
    prompt = native.prompt() if native.messages else TextPrompt(("",))
    exchange = OllamaResponsesExchange(call, scheduled.served, native.request(call, prompt, scheduled), body)
    return exchange if native.messages else exchange.without_text()
