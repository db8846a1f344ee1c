"""What Ollama's OpenAI layer has in common: its accent in answers, its way of refusing, options and images.

The layer turns each request into a native one and each native line into OpenAI's shape, so what a model can't do or
what an option means is the native routes' affair. Wire facts: ollama middleware/openai.go, openai/openai.go.
"""

from __future__ import annotations

import random
from abc import ABC
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, ClassVar

from typing_extensions import Self

from adapters.base import Call, Reply, Served
from adapters.ollama.body import GoBody, GoFields, GoInt
from adapters.ollama.errors import JSON, Rejected, openai_error
from adapters.ollama.json import go_escaped, go_json, quoted
from adapters.openai.common import AnswerOptions
from adapters.openai.exchange import OpenAIExchange
from backends.errors import DragomanError, InvalidRequest
from backends.events import Completion, Usage
from backends.request import GenerateRequest

_MAX_ID = 999
_EFFORTS: Mapping[str, bool | str] = {
    "none": False, "minimal": "low", "low": "low", "medium": "medium", "high": "high", "max": "max", "xhigh": "max",
    "ultra": "max",
}  # fmt: skip


class StreamOptions(GoFields):
    go_struct: ClassVar[str] = "StreamOptions"
    go_package: ClassVar[str] = "openai"

    include_usage: bool = False


class OpenAIBody(GoBody):
    """Fields that Ollama's layer doesn't have are ignored, as it does."""

    go_package: ClassVar[str] = "openai"
    no_body: ClassVar[str] = "EOF"

    model: str = ""

    @classmethod
    def parse(cls, call: Call) -> Self:
        """Raises Rejected. Ollama wants a model to be named; here the default one answers, as on every listener."""
        try:
            body = super().parse(call)
        except InvalidRequest as error:
            raise Rejected(error.message, param=error.param) from None
        if not body.model.strip():
            body.model = call.models.resolve(None).name
        return body


class GenerationBody(OpenAIBody):
    """What a completion and a chat share."""

    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    max_tokens: GoInt | None = None
    seed: GoInt | None = None
    stop: Any = None
    temperature: float | None = None
    top_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None

    def native_options(self) -> dict[str, Any]:
        """Ollama's `options`; temperature and top_p are 1 here unless something else is said."""
        options = {
            "stop": self.stops(),
            "num_predict": self.max_tokens,
            "seed": self.seed,
            "temperature": 1.0 if self.temperature is None else self.temperature,
            "top_p": 1.0 if self.top_p is None else self.top_p,
            "frequency_penalty": self.frequency_penalty,
            "presence_penalty": self.presence_penalty,
        }
        return {name: value for name, value in options.items() if value is not None}

    def stops(self) -> list[str]:
        """What isn't text is passed over."""
        match self.stop:
            case str():
                return [self.stop]
            case list():
                return [text for text in self.stop if isinstance(text, str)]
            case _:
                return []

    def answer_options(self) -> AnswerOptions:
        return AnswerOptions(
            model=self.model, streams=self.stream, sends_usage=self.stream and self.stream_options.include_usage
        )


def to_think(effort: str) -> bool | str | None:
    """`reasoning_effort` as Ollama's `think`. Raises Rejected."""
    if not effort:
        return None
    if effort not in _EFFORTS:
        known = '"minimal", "low", "medium", "high", "xhigh", "ultra", "max", or "none"'
        raise Rejected(f"invalid reasoning value: {quoted(effort)} (must be {known})", param="reasoning_effort")
    return _EFFORTS[effort]


class Accent(OpenAIExchange, ABC):
    """Comes before ChatExchange or CompletionExchange among the bases. A chunk without usage has no such field."""

    def __init__(self, call: Call, served: Served, request: GenerateRequest, options: AnswerOptions) -> None:
        super().__init__(call, served, request, options)
        self.headers = {}
        self.id = f"{self.id_prefix}-{random.randrange(_MAX_ID)}"
        self.fingerprint = "fp_ollama"

    def usage_object(self, usage: Usage) -> dict[str, Any]:
        return {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "total_tokens": usage.total_tokens,
        }

    def chunk(self, choice: dict[str, Any]) -> dict[str, Any]:
        return self.envelope(self.chunk_object, [choice])

    def frame(self, value: dict[str, Any]) -> bytes:
        return b"data: " + go_json(value) + b"\n\n"

    def filled(self, key: Hashable, text: str, choice: Callable[[str], dict[str, Any]]) -> bytes:
        return go_escaped(super().filled(key, text, choice))

    def failure(self, error: DragomanError) -> Iterable[bytes]:
        return (self.frame(openai_error(error)),)

    def reply(self, completion: Completion) -> Reply:
        return encoded(self.body(completion))


def encoded(value: Any) -> Reply:
    """As Go's json.Encoder writes it: with a line break at the end."""
    return Reply(go_json(value) + b"\n", content_type=JSON)


def go_type_name(value: object) -> str:
    """Go's `%T` of a value that came from JSON."""
    match value:
        case None:
            return "<nil>"
        case bool():
            return "bool"
        case int() | float():
            return "float64"
        case str():
            return "string"
        case list():
            return "[]interface {}"
        case _:
            return "map[string]interface {}"
