"""What an adapter is: verbs that turn a Call into a Reply or an Exchange, and a dialect's own way of failing.

A *verb* is one thing that a dialect can be asked to do (`openai.chat`, `ollama.tags`). `gateway/routes.py` maps paths
to verbs. A verb that generates returns an Exchange: the parsed request, and how each event looks on the wire. Every
other verb returns its Reply at once. Adapters do no I/O but ask backends; they never see a socket.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, TypeAlias

import orjson

from backends.base import Backend, Embeddings, ModelInfo
from backends.errors import DragomanError, MalformedBody
from backends.events import Completion, Event, EventStream
from backends.request import GenerateRequest


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole HTTP answer. An empty content_type sends no Content-Type. frames: sent in place of the body, each as an
    HTTP chunk of its own."""

    body: bytes = b""
    status: int = 200
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    frames: Sequence[bytes] = ()


@dataclass(frozen=True, slots=True)
class Served:
    """A model as clients know it. created: when the gateway began to serve it, seconds since the epoch. parent: the
    model whose LoRA this is, by its name."""

    name: str
    backend: Backend
    created: float
    aliases: tuple[str, ...] = ()
    parent: str = ""

    @property
    def info(self) -> ModelInfo:
        return self.backend.info


class Models(Protocol):
    """The models of this gateway."""

    def all(self) -> Sequence[Served]: ...

    def resolve(self, name: str | None) -> Served:
        """By name or alias (`name:latest` is `name`); no name is the default model.

        Raises UnknownModel for a name that nobody has, unless the config sends those to the default model.
        """
        ...

    def find(self, name: str) -> Served | None:
        """By name or alias only: what a listing or a look-up must answer."""
        ...

    def acquire(self, served: Served) -> AbstractAsyncContextManager[Backend]:
        """Holds the model, loaded, for a verb that asks its backend. Raises NotReady or BackendFailed."""
        ...

    async def embed(self, served: Served, backend: Backend, inputs: Sequence[str | Sequence[int]]) -> Embeddings:
        """By the backend of a model that is held; in the client's turn, and at its expense. Raises as the backend."""
        ...

    def keep_alive(self, served: Served, seconds: float) -> None:
        """How long the model is held after its last request, until it is unloaded or told otherwise. inf: for ever;
        0: it goes as soon as nobody uses it."""
        ...

    def expires_at(self, served: Served) -> float:
        """When it is unloaded if nobody comes, seconds since the epoch; inf: never."""
        ...

    def add_alias(self, served: Served, name: str) -> None:
        """From now on `name` means this model, in place of what it meant. Raises Forbidden for a configured name."""
        ...

    def remove_alias(self, name: str) -> None:
        """Forgets a name that add_alias gave. Raises UnknownModel, or Forbidden for a configured name."""
        ...


@dataclass(slots=True)
class Totals:
    """What a gateway has done since it began to count, over all its models.

    prompt_tokens: those evaluated, without the cached; num_steps: of decoding; longest_sequence: tokens of prompt and
    answer together; num_waiting: requests that wait now for a place in a batch.
    """

    since: float  # seconds since the epoch
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    prefill_s: float = 0.0
    decode_s: float = 0.0
    num_steps: int = 0
    longest_sequence: int = 0
    num_waiting: int = 0


@dataclass(slots=True)
class Call:
    """One HTTP request. headers are case-insensitive; params are the parts of the path that the route names.

    origin: the web page that asks and may; None for one that may not, and for whoever is no page. ignored: fields that
    the client sent and nobody honours; they are logged and sent back in `X-Dragoman-Ignored`. totals: for a verb that
    tells them; None where the gateway doesn't count. tap: set by a verb whose events others want to see, or to end:
    what they pass through on their way to its exchange.
    """

    id: str
    method: str
    path: str
    persona: str
    models: Models
    body: bytes = b""
    params: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    received: float = 0.0  # seconds since the epoch
    origin: str | None = None
    ignored: list[str] = field(default_factory=list)
    totals: Totals | None = None
    tap: Callable[[EventStream], EventStream] | None = None

    def json(self) -> Any:
        """The body, whatever its Content-Type says (curl -d sends JSON as a form), with or without a byte order mark.

        Raises MalformedBody.
        """
        try:
            return orjson.loads(self.body.removeprefix(BOM_UTF8))
        except orjson.JSONDecodeError as error:
            raise MalformedBody(str(error), body=self.body, position=error.pos) from None


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """What a stream is sent when nothing else was for so long, lest somebody takes it for dead. frame: made anew each
    time."""

    after_s: float
    frame: Callable[[], bytes]


class Exchange(Protocol):
    """One generation being answered. Made by parsing a Call; then told the events, in order.

    A frame is one HTTP chunk: one SSE event or one NDJSON line, never more and never less, because some clients parse
    each chunk as one JSON document. Over a WebSocket it is one message.
    """

    request: GenerateRequest
    served: Served
    streams: bool
    content_type: ClassVar[str]  # of a stream
    headers: Mapping[str, str]  # more headers of a stream
    keep_alive: KeepAlive | None

    def frames(self, event: Event) -> Iterable[bytes]:
        """What the client is sent for this event: often nothing."""
        ...

    def tail(self) -> Iterable[bytes]:
        """After the last event: a terminator, where the dialect has one."""
        ...

    def failure(self, error: DragomanError) -> Iterable[bytes]:
        """An error when the stream has begun; nothing is sent after it."""
        ...

    def reply(self, completion: Completion) -> Reply:
        """The whole answer, when it isn't streamed."""
        ...


Verb: TypeAlias = Callable[[Call], Awaitable[Exchange | Reply]]


@dataclass(frozen=True, slots=True)
class Dialect:
    """A wire format, and how its server fails.

    error: a DragomanError as this server would word it. unknown_route: its 404; `nearest` is a route that we do serve.
    wrong_method: its 405 or 404. headers: on every answer. cors: more headers, for a call's origin (None: it
    has none). preflight: the answer to OPTIONS; None: it is a method like any other. admit: asked of the persona before
    anything else; a Reply turns the request away. public: verbs that are answered without an API key even where one is
    asked for: those that its own server leaves open and that neither use a model nor tell about one. sockets: verbs
    that are asked over a WebSocket, a message for each body; one that fails closes it, and the error's body is the
    reason.
    """

    name: str
    verbs: Mapping[str, Verb]
    error: Callable[[DragomanError, Call], Reply]
    unknown_route: Callable[[Call, str | None], Reply]
    wrong_method: Callable[[Call, Sequence[str]], Reply]
    preflight: Callable[[Call], Reply | None]
    cors: Callable[[str | None], Mapping[str, str]]
    headers: Mapping[str, str] = field(default_factory=dict)
    admit: Callable[[Call], Reply | None] = lambda _call: None
    public: frozenset[str] = frozenset()
    sockets: frozenset[str] = frozenset()
