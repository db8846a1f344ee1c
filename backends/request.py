"""What can be asked of a model: the one request that every dialect becomes.

Values only; nothing here knows a wire format or a model. `None` always means "not said": the backend then uses the
model's own default. An adapter fills in the defaults of its dialect (llama.cpp's temperature is 0.8, Ollama's top_p
0.9) before the request leaves it, so that two dialects never share a default by accident.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Literal, TypeAlias

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class Image:
    """data: the decoded bytes, or None when the client only gave a URL."""

    media_type: str | None = None
    data: bytes | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """A call that the assistant made earlier. arguments: JSON text, as it was or would be written."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    role: Role
    content: str = ""
    images: tuple[Image, ...] = ()
    reasoning: str | None = None
    tool_calls: tuple[FunctionCall, ...] = ()
    tool_call_id: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Tool:
    """parameters: a JSON Schema of the arguments object."""

    name: str
    description: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NamedTool:
    name: str


ToolChoice: TypeAlias = Literal["auto", "none", "required"] | NamedTool


@dataclass(frozen=True, slots=True)
class ChatPrompt:
    """Messages for the model's chat template.

    continue_final: the last message is the assistant's and is to be continued, not answered.
    template_args: extra variables for the template (`chat_template_kwargs` in vLLM and llama.cpp).
    """

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = "auto"
    parallel_tool_calls: bool = True
    continue_final: bool = False
    add_generation_prompt: bool = True
    template_args: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TextPrompt:
    """Text as it is, token ids, or both in turn (llama.cpp's mixed prompts).

    add_special: put the model's BOS in front, if it has one. Special tokens written in the text are recognised.
    """

    parts: tuple[str | tuple[int, ...], ...]
    add_special: bool = True


@dataclass(frozen=True, slots=True)
class InfillPrompt:
    """Fill in between prefix and suffix. extra: other files, as (name, text); start: what the middle begins with."""

    prefix: str
    suffix: str
    extra: tuple[tuple[str, str], ...] = ()
    start: str = ""


Prompt: TypeAlias = ChatPrompt | TextPrompt | InfillPrompt


@dataclass(frozen=True, slots=True)
class JsonSchema:
    schema: dict[str, Any] | bool


@dataclass(frozen=True, slots=True)
class AnyJson:
    """Any JSON object."""


@dataclass(frozen=True, slots=True)
class Regex:
    pattern: str


@dataclass(frozen=True, slots=True)
class Choice:
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Gbnf:
    """llama.cpp's grammar notation."""

    grammar: str


OutputFormat: TypeAlias = JsonSchema | AnyJson | Regex | Choice | Gbnf


@dataclass(frozen=True, slots=True)
class Dry:
    """Don't repeat yourself: punishes a token that would extend a repeated run (as in llama.cpp)."""

    multiplier: float
    base: float = 1.75
    allowed_length: int = 2
    window: int = -1  # tokens looked back at; -1: the whole sequence
    breakers: tuple[str, ...] = ("\n", ":", '"', "*")


@dataclass(frozen=True, slots=True)
class Xtc:
    """Exclude top choices, with this probability, when more than one is above the threshold."""

    probability: float
    threshold: float


@dataclass(frozen=True, slots=True)
class Mirostat:
    version: Literal[1, 2]
    tau: float = 5.0
    eta: float = 0.1


SamplerName: TypeAlias = Literal["top_n_sigma", "top_k", "typical_p", "top_p", "min_p", "xtc", "temperature"]

TEMPERATURE_LAST: tuple[SamplerName, ...] = (
    "top_n_sigma",
    "top_k",
    "typical_p",
    "top_p",
    "min_p",
    "xtc",
    "temperature",
)
"""llama.cpp's order (common/common.h): what is cut away doesn't depend on the temperature."""

TEMPERATURE_FIRST: tuple[SamplerName, ...] = (
    "temperature",
    "min_p",
    "top_k",
    "top_p",
    "top_n_sigma",
    "typical_p",
    "xtc",
)
"""vLLM's order (vllm/v1/sample/sampler.py): top_p and min_p cut the distribution that the temperature has made."""


@dataclass(slots=True)
class Sampling:
    """How the next token is chosen. None: the model's `generation_config`, else the value that changes nothing.

    temperature 0 is greedy. top_k 0 or less: off. penalty_window: tokens that the three penalties look back at
    (-1: all). penalize_prompt: presence and frequency count the prompt's tokens too, as llama.cpp does; otherwise the
    answer's alone, as OpenAI and vLLM do (repetition always counts both). order: of the samplers that act; one that
    isn't named doesn't. logit_bias: by token id or by text (each of whose tokens gets it); False bans.
    seed None: drawn for each request.
    """

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    typical_p: float | None = None
    top_n_sigma: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    penalty_window: int = -1
    penalize_prompt: bool = False
    temperature_range: float = 0.0  # dynamic temperature: ± around `temperature`, by entropy
    temperature_exponent: float = 1.0
    dry: Dry | None = None
    xtc: Xtc | None = None
    mirostat: Mirostat | None = None
    order: tuple[SamplerName, ...] = TEMPERATURE_LAST
    logit_bias: dict[int | str, float | Literal[False]] = field(default_factory=dict)
    seed: int | None = None


class Intent(IntEnum):
    """What a request is for; the lower, the more urgent. A person waits for a completion while typing, for a chat while
    looking; an agent goes on by itself; for what is bulk (embeddings, indexing, evaluations) nobody waits."""

    COMPLETION = 0
    CHAT = 1
    AGENT = 2
    BULK = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedRequest:
    """One vector for each input, which is text or token ids. intent, client and key: as in a GenerateRequest."""

    id: str
    inputs: tuple[str | Sequence[int], ...]
    intent: Intent = Intent.BULK
    client: str = ""
    key: str | None = field(default=None, repr=False)


@dataclass(slots=True, kw_only=True)
class GenerateRequest:
    """One request. Its choices are numbered `prompt * n + i`, as OpenAI does.

    max_tokens None: until the model ends or the window is full; 0: evaluate the prompt only.
    best_of: sample so many and keep the n with the best mean log-probability.
    top_logprobs None: no log-probabilities; 0: of the chosen token only; k: and of the k most likely.
    prompt_logprobs: the same, of the prompt's tokens.
    echo: the prompt's own text comes back as the first Text of each choice.
    reasoning: False asks the model not to think; None leaves it to the template.
    cache_prompt: prefixes may be taken from, and left in, the prefix cache.
    deadline_s: stop with `length` after so many seconds of generating (llama.cpp's t_max_predict_ms).
    intent and client: the device is shared by class, and within a class between clients. priority: lower goes first,
    among the client's own. paid_by: clients who share what it costs, where others than `client` read the answer too;
    they come and go while it is answered. cache_salt: prefixes are shared only with requests that say the same (vLLM).
    key: what the client brought for whoever runs the model, none of this gateway's own. ignored: filled in by the
    backend before its first event: what it can't honour although the answer means the same without it.
    """

    id: str
    prompts: tuple[Prompt, ...]
    max_tokens: int | None = None
    min_tokens: int = 0
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    include_stop: bool = False
    ignore_eos: bool = False
    n: int = 1
    best_of: int | None = None
    sampling: Sampling = field(default_factory=Sampling)
    top_logprobs: int | None = None
    prompt_logprobs: int | None = None
    echo: bool = False
    output: OutputFormat | None = None
    reasoning: bool | None = None
    cache_prompt: bool = True
    deadline_s: float | None = None
    intent: Intent = Intent.CHAT
    client: str = ""
    paid_by: list[str] = field(default_factory=list)
    priority: int = 0
    cache_salt: str | None = None
    key: str | None = field(default=None, repr=False)
    ignored: list[str] = field(default_factory=list)

    @property
    def num_choices(self) -> int:
        return len(self.prompts) * self.n
