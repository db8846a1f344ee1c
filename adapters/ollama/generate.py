"""POST /api/generate.

Wire facts: ollama api/types.go (GenerateRequest, GenerateResponse), server/routes.go (GenerateHandler).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from adapters.base import Call, Exchange, Reply, Served
from adapters.ollama.body import Base64, GoInt
from adapters.ollama.exchange import DONE_REASONS, NativeExchange
from adapters.ollama.messages import think_args, to_chat_prompt, to_images
from adapters.ollama.native import NativeBody, now_reply, rendered
from adapters.ollama.shapes import to_calls, to_logprobs, whole_calls
from adapters.ollama.template import Template
from backends.base import Backend
from backends.errors import DragomanError, InvalidRequest, UnknownModel
from backends.events import CompletedChoice
from backends.request import ChatPrompt, GenerateRequest, InfillPrompt, Message, Prompt, TextPrompt


class GenerateBody(NativeBody):
    """prompt: of a chat with one message, unless `raw`, `suffix` or `template` say otherwise. An empty text is an
    absent one in every field."""

    go_struct: ClassVar[str] = "GenerateRequest"
    verb: ClassVar[str] = "generate"

    prompt: str = ""
    suffix: str = ""
    system: str = ""
    template: str = ""
    context: list[GoInt] = Field(default_factory=list)
    raw: bool = False
    images: list[Base64] = Field(default_factory=list)

    def check_raw(self) -> None:
        if self.raw and (self.template or self.system or self.context):
            raise InvalidRequest("raw mode does not support template, system, or context", param="raw")

    def wanted(self) -> Mapping[str, bool]:
        return {"insert": bool(self.suffix), "vision": bool(self.images)}

    @property
    def nameless(self) -> DragomanError:
        return UnknownModel(self.model)

    @property
    def has_prompt(self) -> bool:
        """Continue of 2023 puts its whole prompt into `template`, and sends nothing else."""
        return bool(self.prompt or self.template)

    def to_prompt(self, call: Call) -> Prompt:
        """Without `context`. Raises InvalidRequest for a template that is none; notes on the call what is ignored."""
        if self.raw:
            call.ignored += [name for name in ("suffix", "images") if getattr(self, name)]
            return TextPrompt((self.prompt,))
        if not self.prompt:
            return TextPrompt((self.template,))
        if self.suffix:
            call.ignored += [name for name in ("system", "images", "context") if getattr(self, name)]
        if self.template:
            return TextPrompt((self._rendered(Template(self.template)),))
        return InfillPrompt(self.prompt, self.suffix) if self.suffix else self._chat()

    def _rendered(self, template: Template) -> str:
        if self.suffix:
            return template.fill_in(self.prompt, self.suffix)
        return template.chat(system=self.system, prompt=self.prompt)

    def _chat(self) -> ChatPrompt:
        messages = [Message("system", self.system)] if self.system else []
        messages.append(Message("user", self.prompt, images=to_images(self.images)))
        return to_chat_prompt(messages, template_args=think_args(self.think))


class GenerateExchange(NativeExchange):
    """sends_context: the ids of the whole exchange come with the answer, where the backend knows them."""

    def __init__(
        self,
        call: Call,
        served: Served,
        request: GenerateRequest,
        *,
        model: str,
        streams: bool,
        sends_context: bool,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        super().__init__(call, served, request, model=model, streams=streams, clock=clock)
        self._sends_context = sends_context

    def text_line(self, text: str) -> dict[str, Any]:
        return {"response": text, "done": False}

    def thought_line(self, text: str) -> dict[str, Any]:
        return {"response": "", "thinking": text, "done": False}

    def answer(self, choice: CompletedChoice) -> dict[str, Any]:
        answer: dict[str, Any] = {"response": choice.text}
        if choice.reasoning:
            answer["thinking"] = choice.reasoning
        answer |= {"done": True, "done_reason": DONE_REASONS[choice.end.reason]}
        if self._sends_context and choice.started.prompt_token_ids:
            answer["context"] = [*choice.started.prompt_token_ids, *choice.token_ids]
        answer |= self.metrics(choice)
        if calls := whole_calls(choice.tool_calls, choice.end):
            answer["tool_calls"] = to_calls(calls)
        if choice.logprobs:
            answer["logprobs"] = to_logprobs(choice.logprobs)
        return answer


async def generate(call: Call) -> Exchange | Reply:
    """No prompt: the model is loaded, or with a keep_alive of 0 unloaded."""
    body = GenerateBody.parse(call)
    served = body.find(call)
    if not body.has_prompt and body.keep_alive == 0:
        body.unload(call, served)
        return _without_text(body, "unload")
    body.check_raw()
    scheduled = await body.schedule(call, served)
    if not body.has_prompt:
        body.hold(call, served)
        return _without_text(body, "load")
    body.hold_after(call, served)
    prompt = body.to_prompt(call)
    if body.context and not isinstance(prompt, InfillPrompt):
        async with call.models.acquire(served) as backend:
            prompt = await _continued(backend, body.context, prompt)
    if body.debug_render_only:
        async with call.models.acquire(served) as backend:
            shown = await rendered(backend, prompt)
        return now_reply(body.model, {"response": "", "done": False, **shown})
    request = body.request(call, prompt, scheduled)
    return GenerateExchange(call, served, request, model=body.model, streams=body.stream, sends_context=not body.raw)


async def _continued(backend: Backend, context: Sequence[int], prompt: ChatPrompt | TextPrompt) -> TextPrompt:
    """The tokens of the exchange before stand in front of this one's text, which needs no beginning of its own."""
    if isinstance(prompt, ChatPrompt):
        text = await backend.render_chat(prompt)
        parts: tuple[str | tuple[int, ...], ...] = (text.removeprefix(backend.info.bos_token),)
    else:
        parts = prompt.parts
    return TextPrompt((tuple(context), *parts), add_special=False)


def _without_text(body: GenerateBody, reason: str) -> Reply:
    return now_reply(body.model, {"response": "", "done": True, "done_reason": reason})
