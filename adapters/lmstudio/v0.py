"""LM Studio's /api/v0: OpenAI's answers, with statistics, the model and the runtime beside them.

`max_tokens: -1` is as much as fits, and what isn't said fills the window too. A stream has the statistics in its last
chunk. Wire facts: lmstudio.ai/docs/developer/rest/endpoints.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar

from adapters.base import Call
from adapters.lmstudio.shapes import RUNTIME, model_info_v0, stats_v0
from adapters.openai.chat import ChatExchange
from adapters.openai.chat_body import ChatBody
from adapters.openai.common import resolve
from adapters.openai.completions import CompletionBody, CompletionExchange
from adapters.openai.exchange import OpenAIExchange
from backends.events import Completion, Finished


class Accent(OpenAIExchange, ABC):
    """Comes before ChatExchange or CompletionExchange among the bases."""

    def body(self, completion: Completion) -> dict[str, Any]:
        return super().body(completion) | self._extras(completion)

    def on_finished(self, event: Finished) -> Iterable[bytes]:
        """The statistics are of all choices, so only the last has them."""
        self.note(event)
        chunk = self.chunk(self.finish_choice(event))
        done = [choice for choice in self.seen.choices.values() if choice.finished]
        if len(done) == self.request.num_choices:
            chunk |= self._extras(self.seen)
        return (self.frame(chunk),)

    @abstractmethod
    def finish_choice(self, event: Finished) -> dict[str, Any]: ...

    def _extras(self, completion: Completion) -> dict[str, Any]:
        return {"stats": stats_v0(completion), "model_info": model_info_v0(self.served), "runtime": RUNTIME}


class V0ChatExchange(Accent, ChatExchange):
    def finish_choice(self, event: Finished) -> dict[str, Any]:
        return ChatExchange.finish_choice(self, event)


class V0CompletionBody(CompletionBody):
    default_length: ClassVar[int | None] = None


class V0CompletionExchange(Accent, CompletionExchange):
    def finish_choice(self, event: Finished) -> dict[str, Any]:
        return CompletionExchange.finish_choice(self, event)


async def chat(call: Call) -> V0ChatExchange:
    body = ChatBody.parse(call)
    return V0ChatExchange(call, resolve(call, body.model), body.request(call.id), body.options())


async def completions(call: Call) -> V0CompletionExchange:
    body = V0CompletionBody.parse(call)
    return V0CompletionExchange(call, resolve(call, body.model), body.request(call.id), body.options())
