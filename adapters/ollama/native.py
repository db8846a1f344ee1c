"""What the requests of /api/generate and /api/chat have in common, and the order in which they are checked.

Wire facts: ollama api/types.go (GenerateRequest, ChatRequest), server/routes.go (GenerateHandler, ChatHandler).
"""

from __future__ import annotations

import contextlib
import time
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from pydantic import Field

from adapters.base import Call, Reply, Served
from adapters.framing import JSON_UTF8
from adapters.ollama.body import GoBody, GoInt, KeepAlive
from adapters.ollama.json import go_json, go_time, quoted
from adapters.ollama.names import refuse_route, require, resolve
from adapters.ollama.options import Options, Think, to_output
from backends.base import Backend, BackendState
from backends.errors import DragomanError, InvalidRequest, Unsupported
from backends.events import EventStream
from backends.request import ChatPrompt, GenerateRequest, InfillPrompt, Prompt, TextPrompt

_MOST_TOP_LOGPROBS = 20


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A model that can do what is asked, and what was said about how."""

    served: Served
    options: Options
    reasoning: bool | None


class NativeBody(GoBody):
    """verb: what a model can't do that completes no text. truncate and shift ask Ollama to cut a prompt or an answer
    short without a word; that is never done here."""

    verb: ClassVar[str]

    model: str = ""
    stream: bool = True
    format: Any = None
    keep_alive: KeepAlive | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    think: Think | None = None
    truncate: bool = False
    shift: bool = False
    logprobs: bool = False
    top_logprobs: GoInt = 0
    debug_render_only: bool = Field(default=False, alias="_debug_render_only")

    @abstractmethod
    def wanted(self) -> Mapping[str, bool]:
        """By capability: does the request need it?"""

    @property
    @abstractmethod
    def nameless(self) -> DragomanError:
        """The error for a request that names no model."""

    def find(self, call: Call) -> Served:
        """The model. Raises `nameless`, UnknownModel, or InvalidRequest for what is no name."""
        if not 0 <= self.top_logprobs <= _MOST_TOP_LOGPROBS:
            raise InvalidRequest(f"top_logprobs must be between 0 and {_MOST_TOP_LOGPROBS}", param="top_logprobs")
        if not self.model.strip():
            raise self.nameless
        return resolve(call, self.model)

    async def schedule(self, call: Call, served: Served) -> Scheduled:
        """Raises InvalidRequest for what the model can't do, Fault for an option of a wrong type; and NotReady or
        BackendFailed: only of a model that is loaded it is known what it can do."""
        if served.backend.state is not BackendState.READY:
            async with call.models.acquire(served):
                pass
        reasoning = self._reasoning(served)
        refuse_route(served, self.model, self.verb)
        require(served, self.model, *(name for name, is_wanted in self.wanted().items() if is_wanted))
        return Scheduled(served, Options(self.options, call), reasoning)

    def hold(self, call: Call, served: Served) -> None:
        """How long the model stays after its last request, where that was said."""
        if self.keep_alive is not None:
            call.models.keep_alive(served, self.keep_alive)

    def hold_after(self, call: Call, served: Served) -> None:
        """The same, once it has this request: said before, 0 might unload it first."""
        if self.keep_alive is not None:
            call.tap = partial(self._held, call, served)

    async def _held(self, call: Call, served: Served, events: EventStream) -> EventStream:
        self.hold(call, served)
        async with contextlib.aclosing(events):
            async for batch in events:
                yield batch

    def unload(self, call: Call, served: Served) -> None:
        if served.backend.state is BackendState.READY:
            call.models.keep_alive(served, 0)

    def _reasoning(self, served: Served) -> bool | None:
        """A model that can think does so unless it is told not to."""
        if "thinking" in served.info.capabilities:
            return self.think is not False
        if self.think:
            raise InvalidRequest(f"{quoted(self.model)} does not support thinking", param="think")
        return None

    def request(self, call: Call, prompt: Prompt, scheduled: Scheduled) -> GenerateRequest:
        """Raises Fault for a format that is none; notes on the call what is ignored."""
        call.ignored += [name for name in ("truncate", "shift") if getattr(self, name)]
        return GenerateRequest(
            id=call.id,
            prompts=(prompt,),
            max_tokens=scheduled.options.max_tokens(),
            stop=scheduled.options.stop(),
            sampling=scheduled.options.sampling(),
            top_logprobs=self.top_logprobs if self.logprobs else None,
            output=to_output(self.format),
            reasoning=scheduled.reasoning,
        )


def now_reply(model: str, rest: dict[str, Any]) -> Reply:
    """An answer without a generation: one object, whatever was said about streaming."""
    value = {"model": model, "created_at": go_time(time.time_ns()), **rest}
    return Reply(go_json(value), content_type=JSON_UTF8)


async def rendered(backend: Backend, prompt: Prompt) -> dict[str, Any]:
    """`_debug_info`: the text that the model would get. Raises Unsupported for infilling, whose text only the backend
    knows."""
    match prompt:
        case ChatPrompt():
            text = await backend.render_chat(prompt)
        case TextPrompt():
            parts = [part if isinstance(part, str) else await backend.detokenize(part) for part in prompt.parts]
            text = "".join(parts)
        case InfillPrompt():
            raise Unsupported("what an infill request becomes can't be shown", feature="_debug_render_only")
    return {"_debug_info": {"rendered_template": text}}
