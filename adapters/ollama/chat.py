"""POST /api/chat. Wire facts: ollama api/types.go (ChatRequest, ChatResponse), server/routes.go (ChatHandler)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from adapters.base import Call, Exchange, Reply
from adapters.ollama.exchange import DONE_REASONS, NativeExchange
from adapters.ollama.messages import WireMessage, WireTool, think_args, to_chat_prompt
from adapters.ollama.native import NativeBody, now_reply, rendered
from adapters.ollama.shapes import to_calls, to_logprobs, whole_calls
from backends.errors import DragomanError, InvalidRequest
from backends.events import CompletedChoice
from backends.request import ChatPrompt


class ChatBody(NativeBody):
    go_struct: ClassVar[str] = "ChatRequest"

    verb: ClassVar[str] = "chat"

    messages: list[WireMessage] = Field(default_factory=list)
    tools: list[WireTool] = Field(default_factory=list)

    def wanted(self) -> Mapping[str, bool]:
        return {"tools": bool(self.tools), "vision": any(message.images for message in self.messages)}

    @property
    def nameless(self) -> DragomanError:
        return InvalidRequest("model is required", param="model")

    def prompt(self) -> ChatPrompt:
        messages = [message.to_message() for message in self.messages]
        return to_chat_prompt(messages, [tool.to_tool() for tool in self.tools], think_args(self.think))


class ChatExchange(NativeExchange):
    def text_line(self, text: str) -> dict[str, Any]:
        return {"message": {"role": "assistant", "content": text}, "done": False}

    def thought_line(self, text: str) -> dict[str, Any]:
        return {"message": {"role": "assistant", "content": "", "thinking": text}, "done": False}

    def answer(self, choice: CompletedChoice) -> dict[str, Any]:
        """A call is told whole and at the end, when its arguments are known to be an object."""
        message: dict[str, Any] = {"role": "assistant", "content": choice.text}
        if choice.reasoning:
            message["thinking"] = choice.reasoning
        if calls := whole_calls(choice.tool_calls, choice.end):
            message["tool_calls"] = to_calls(calls)
        answer = {"message": message, "done": True, "done_reason": DONE_REASONS[choice.end.reason]}
        if choice.logprobs:
            answer["logprobs"] = to_logprobs(choice.logprobs)
        return answer | self.metrics(choice)


async def chat(call: Call) -> Exchange | Reply:
    """No messages: the model is loaded, or with a keep_alive of 0 unloaded."""
    body = ChatBody.parse(call)
    served = body.find(call)
    if not body.messages and body.keep_alive == 0:
        body.unload(call, served)
        return _without_text(body, "unload")
    scheduled = await body.schedule(call, served)
    if not body.messages:
        body.hold(call, served)
        return _without_text(body, "load")
    body.hold_after(call, served)
    prompt = body.prompt()
    if body.debug_render_only:
        async with call.models.acquire(served) as backend:
            shown = await rendered(backend, prompt)
        return now_reply(body.model, {"message": {"role": "", "content": ""}, "done": False, **shown})
    request = body.request(call, prompt, scheduled)
    return ChatExchange(call, served, request, model=body.model, streams=body.stream)


def _without_text(body: ChatBody, reason: str) -> Reply:
    message = {"role": "assistant", "content": ""}
    return now_reply(body.model, {"message": message, "done": True, "done_reason": reason})
