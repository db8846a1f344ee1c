"""POST /api/v1/chat, LM Studio's own: one input, a chat kept on the server, and events with names.

Each event has its name in its data too, and the last one holds the whole answer. Wire facts:
lmstudio.ai/docs/developer/rest: chat, streaming-events, stateful-chats.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, StrictStr
from typing_extensions import assert_never

from adapters import framing
from adapters.base import Call, KeepAlive, Reply, Served
from adapters.body import Body, Fields
from adapters.lmstudio.chats import Chats
from adapters.lmstudio.errors import error_object
from adapters.lmstudio.shapes import stats_v1
from backends.errors import DragomanError, InvalidField, Unsupported
from backends.events import (
    Completion,
    Event,
    Finished,
    Prefilled,
    Reasoning,
    Started,
    Text,
    ToolCallArguments,
    ToolCallStarted,
)
from backends.request import ChatPrompt, GenerateRequest, Image, Message, Sampling


class InputItem(Fields):
    """`text` stands in the documents' examples where their tables say `message`."""

    type: Literal["message", "text", "image"]
    content: str = ""
    data_url: str = ""


def _as_items(value: Any) -> Any:
    return [{"type": "message", "content": value}] if isinstance(value, str) else value


class ChatBody(Body):
    """context_length is the config's affair."""

    tolerated = frozenset({"context_length"})

    model: str | None = None
    input: Annotated[tuple[InputItem, ...], BeforeValidator(_as_items)]
    system_prompt: str = ""
    integrations: tuple[Any, ...] = ()
    stream: bool = False
    temperature: float | None = Field(default=None, ge=0)
    top_p: float | None = Field(default=None, ge=0, le=1)
    top_k: int | None = None
    min_p: float | None = Field(default=None, ge=0, le=1)
    repeat_penalty: float | None = Field(default=None, gt=0)
    max_output_tokens: int | None = Field(default=None, ge=1)
    reasoning: Literal["off", "low", "medium", "high", "on"] | None = None
    context_length: int | None = None
    store: bool = True
    previous_response_id: StrictStr | None = None

    def message(self) -> Message:
        """Raises InvalidField."""
        images = tuple(_image(item, place) for place, item in enumerate(self.input) if item.type == "image")
        return Message("user", "".join(item.content for item in self.input), images)

    def request(self, request_id: str, messages: tuple[Message, ...]) -> GenerateRequest:
        """Raises Unsupported."""
        if self.integrations:
            raise Unsupported("integrations aren't supported: no tool is run here", feature="mcp", param="integrations")
        system = (Message("system", self.system_prompt),) if self.system_prompt else ()
        return GenerateRequest(
            id=request_id,
            prompts=(ChatPrompt((*system, *messages)),),
            max_tokens=self.max_output_tokens,
            reasoning=None if self.reasoning is None else self.reasoning != "off",
            sampling=Sampling(
                temperature=self.temperature,
                top_p=self.top_p,
                top_k=self.top_k,
                min_p=self.min_p,
                repetition_penalty=self.repeat_penalty,
                penalize_prompt=True,
            ),
        )


def _image(item: InputItem, place: int) -> Image:
    head, comma, data = item.data_url.partition(",")
    try:
        decoded = base64.b64decode(data, validate=True)
    except binascii.Error:
        decoded = b""
    if not (head.startswith("data:") and comma and decoded):
        raise InvalidField(f"input.{place}.data_url", "expected a base64-encoded data URL")
    return Image(head.removeprefix("data:").partition(";")[0], decoded)


class ChatExchange:
    """messages: the conversation so far; chats: where it is kept, or None."""

    content_type: ClassVar[str] = framing.SSE

    def __init__(
        self, call: Call, served: Served, body: ChatBody, messages: tuple[Message, ...], chats: Chats | None
    ) -> None:
        self.request = body.request(call.id, messages)
        self.served = served
        self.streams = body.stream
        self.headers: Mapping[str, str] = {"Cache-Control": "no-cache"}
        self.keep_alive: KeepAlive | None = None
        self._seen = Completion(1)
        self._messages = messages
        self._chats = chats
        self._response_id = f"resp_{call.id}"
        self._part: str | None = "prompt_processing"  # what has begun and not ended

    def frames(self, event: Event) -> Iterable[bytes]:
        self._seen.add(event)
        match event:
            case Started():
                yield _frame("chat.start", model_instance_id=self.served.name)
                yield _frame("prompt_processing.start")
            case Prefilled():
                if self._part == "prompt_processing":
                    yield _frame("prompt_processing.progress", progress=event.processed / max(1, event.total))
            case Text():
                if event.text:
                    yield from self._enter("message")
                    yield _frame("message.delta", content=event.text)
            case Reasoning():
                yield from self._enter("reasoning")
                yield _frame("reasoning.delta", content=event.text)
            case Finished():
                yield from self._enter(None)
                yield _frame("chat.end", result=self._result(self._seen))
            case ToolCallStarted() | ToolCallArguments():
                pass
            case _:
                assert_never(event)

    def _enter(self, part: str | None) -> Iterable[bytes]:
        """Whatever is open ends first."""
        if part == self._part:
            return
        if self._part is not None:
            yield _frame(f"{self._part}.end")
        if part is not None:
            yield _frame(f"{part}.start")
        self._part = part

    def tail(self) -> Iterable[bytes]:
        return ()

    def failure(self, error: DragomanError) -> Iterable[bytes]:
        """What there is by then follows."""
        yield _frame("error", error=error_object(error))
        choice = self._seen.ordered[0]
        if choice.finished is None:
            self._seen.add(Finished(choice.index, "length"))
        yield _frame("chat.end", result=self._result(self._seen))

    def reply(self, completion: Completion) -> Reply:
        return Reply(framing.to_json(self._result(completion)))

    def _result(self, completion: Completion) -> dict[str, Any]:
        (choice,) = completion.ordered
        output = [{"type": "reasoning", "content": choice.reasoning}] if choice.reasoning else []
        output.append({"type": "message", "content": choice.text})
        result = {"model_instance_id": self.served.name, "output": output, "stats": stats_v1(completion)}
        if self._chats is None:
            return result
        self._chats.put(self._response_id, (*self._messages, Message("assistant", choice.text)))
        return result | {"response_id": self._response_id}


def _frame(kind: str, **data: Any) -> bytes:
    return framing.named_sse(kind, {"type": kind, **data})


class Chatting:
    """The verb. chats: what `previous_response_id` finds."""

    def __init__(self, chats: Chats) -> None:
        self._chats = chats

    async def chat(self, call: Call) -> ChatExchange:
        body = ChatBody.parse(call)
        messages = (*self._chats.get(body.previous_response_id), body.message())
        served = call.models.resolve(body.model)
        return ChatExchange(call, served, body, messages, self._chats if body.store else None)
