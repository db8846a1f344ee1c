"""What text-generation-webui answers when it has generated: a text, a history, or the likeliest next tokens.

Wire facts: text-generation-webui extensions/api/blocking_api.py (November 2023), modules/logits.py.
"""

from __future__ import annotations

import json
import math
from typing import Any

from adapters import framing
from adapters.base import Call, Reply, Served
from adapters.generations import Generations, owner_of
from adapters.textgen.body import ChatBody, GenerateBody, LogitsBody
from adapters.textgen.messages import ChatMessages, TextMessages
from adapters.whole import WholeExchange
from backends.events import Completion
from backends.request import GenerateRequest


class GenerateExchange(WholeExchange):
    def reply(self, completion: Completion) -> Reply:
        (choice,) = completion.ordered
        return python_reply({"results": [{"text": choice.text}]})


class ChatExchange(WholeExchange):
    def __init__(self, served: Served, request: GenerateRequest, body: ChatBody) -> None:
        super().__init__(served, request)
        self._body = body

    def reply(self, completion: Completion) -> Reply:
        (choice,) = completion.ordered
        return python_reply({"results": [{"history": self._body.history_with(choice.text)}]})


class LogitsExchange(WholeExchange):
    def reply(self, completion: Completion) -> Reply:
        """Probabilities by token; control characters are told as Python writes them."""
        (choice,) = completion.ordered
        top = choice.logprobs[0].top if choice.logprobs else ()
        return Reply(framing.to_json({_escaped(token.text): math.exp(token.logprob) for token in top}))


def _escaped(text: str) -> str:
    return "".join(repr(c)[1:-1] if c < " " or "\x7f" <= c <= "\x9f" else c for c in text)


def python_reply(value: Any) -> Reply:
    """As json.dumps writes it."""
    return Reply(json.dumps(value).encode())


class Generating:
    """The verbs that generate, and those that end it all. generations: what there is to end."""

    def __init__(self, generations: Generations) -> None:
        self._generations = generations

    async def generate(self, call: Call) -> GenerateExchange:
        body: GenerateBody = GenerateBody.parse(call)
        return GenerateExchange(call.models.resolve(None), self._watched(call, body.request(call.id)))

    async def chat(self, call: Call) -> ChatExchange:
        body: ChatBody = ChatBody.parse(call)
        return ChatExchange(call.models.resolve(None), self._watched(call, body.request(call.id)), body)

    async def stream(self, call: Call) -> TextMessages:
        body: GenerateBody = GenerateBody.parse(call)
        return TextMessages(call.models.resolve(None), self._watched(call, body.request(call.id)))

    async def chat_stream(self, call: Call) -> ChatMessages:
        body: ChatBody = ChatBody.parse(call)
        return ChatMessages(call.models.resolve(None), self._watched(call, body.request(call.id)), body)

    async def logits(self, call: Call) -> LogitsExchange:
        body: LogitsBody = LogitsBody.parse(call)
        return LogitsExchange(call.models.resolve(None), body.request(call.id))

    def _watched(self, call: Call, request: GenerateRequest) -> GenerateRequest:
        call.tap = self._generations.begin((owner_of(call), call.id), request.n, request.sampling.seed).watch
        return request

    async def stop_stream(self, call: Call) -> Reply:
        self._generations.end_all(owner_of(call))
        return python_reply({"results": "success"})

    async def stop_generation(self, call: Call) -> Reply:
        self._generations.end_all(owner_of(call))
        return Reply(b'"OK"')
