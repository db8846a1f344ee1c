"""What a backend is: something that answers GenerateRequests with events, and can say what it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from backends.events import EventStream
from backends.request import ChatPrompt, EmbedRequest, GenerateRequest


class BackendState(Enum):
    STOPPED = "stopped"
    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What is known of a model; zero, empty or None where a backend can't know.

    window: tokens of prompt and answer together. capabilities: of `completion`, `insert` (fill in the middle),
    `tools`, `thinking`, `vision`, `embedding`: Ollama's words. path: where the weights are. digest: sha256, hex.
    generation_defaults: from the model's own generation_config. pooling: how embeddings are made of the tokens' hidden
    states: `mean`, `last`, …
    """

    window: int
    family: str = "llama"
    path: str = ""
    num_parameters: int = 0
    size_bytes: int = 0
    vocab_size: int = 0
    hidden_size: int = 0
    quantization: str = "unknown"
    digest: str = ""
    modified_at: float = 0.0  # seconds since the epoch
    trained_window: int = 0
    capabilities: frozenset[str] = frozenset({"completion"})
    chat_template: str = ""
    bos_token: str = ""
    eos_token: str = ""
    generation_defaults: dict[str, float] = field(default_factory=dict)
    pooling: str = ""


@dataclass(frozen=True, slots=True)
class Slot:
    """A place in the batch. tokens: how many the sequence there has by now; remaining: how many it may still make."""

    id: int
    request_id: str | None = None
    num_prompt_tokens: int = 0
    num_generated_tokens: int = 0
    num_remaining_tokens: int = -1


@dataclass(frozen=True, slots=True)
class Embeddings:
    """vectors: one per input, as long as the model is wide; pooled: `mean`, `last`, …"""

    vectors: tuple[tuple[float, ...], ...]
    num_tokens: tuple[int, ...]
    pooled: str


class Backend(Protocol):
    """Methods that need the model raise NotReady before it is loaded and BackendFailed after it broke."""

    @property
    def state(self) -> BackendState: ...

    @property
    def phase(self) -> str:
        """What it is doing, in a few words: `reading weights`, `ready`, the cause of a failure."""
        ...

    @property
    def ready_in_s(self) -> float | None:
        """Seconds until it can answer, if it is loaded from now on: 0 when it can; None: nothing tells."""
        ...

    @property
    def info(self) -> ModelInfo: ...

    @property
    def log(self) -> Sequence[str]:
        """The last lines of a worker of ours; none where there is no such worker."""
        ...

    @property
    def slots(self) -> Sequence[Slot]: ...

    @property
    def adapters(self) -> Mapping[str, Backend]:
        """The model's LoRAs, as far as they are known, by the names that its server gives them. They load, and are
        unloaded, with it."""
        ...

    async def start(self) -> None:
        """Load; returns when ready. Raises BackendFailed with the cause."""
        ...

    async def stop(self) -> None:
        """End every request with an error, and let go of everything. Safe to call in any state."""
        ...

    def generate(self, request: GenerateRequest) -> EventStream:
        """Closing the iterator cancels. Raises InvalidRequest and its kin before the first event."""
        ...

    async def tokenize(self, text: str, *, add_special: bool, parse_special: bool = True) -> list[int]: ...

    async def token_bytes(self, token_id: int) -> bytes:
        """The bytes that a token stands for. Raises InvalidField for an id outside the vocabulary."""
        ...

    async def detokenize(self, token_ids: Sequence[int], *, skip_special: bool = False) -> str:
        """Bytes that aren't UTF-8 become U+FFFD. skip_special: without special tokens, where the backend knows them."""
        ...

    async def render_chat(self, prompt: ChatPrompt) -> str:
        """The text that the model's chat template makes of the messages."""
        ...

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """Cancelling it leaves what it hasn't done undone. Raises Unsupported where the model has no embeddings, and
        PromptTooLong."""
        ...
