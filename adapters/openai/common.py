"""What OpenAI's text and chat completions have in common in a request: lengths, samplers, stops, output format.

The fields are OpenAI's and vLLM's (vllm entrypoints/openai/*/protocol.py). A server with defaults or fields of its own
subclasses a body and overrides `sampling`, `length` or `constraint`. Knows nothing of answers.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field

from adapters.base import Call, Served
from adapters.body import Body, Fields
from adapters.openai.formats import ResponseFormat, Schema, StructuredOutputs
from backends.errors import InvalidField, Unsupported
from backends.request import (
    TEMPERATURE_FIRST,
    GenerateRequest,
    OutputFormat,
    Prompt,
    Sampling,
)

MAX_SEED = 2**64 - 1


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Stop = Annotated[tuple[str, ...], BeforeValidator(_as_list)]


class StreamOptions(Fields):
    """`{}` asks for nothing, as with OpenAI (vLLM sends usage then)."""

    include_usage: bool = False
    continuous_usage_stats: bool = False


@dataclass(frozen=True, slots=True)
class AnswerOptions:
    """What the client wants to see of the answer, whatever is generated.

    model: the name it used. counts_usage: usage so far in every chunk. names_by_id: tokens in log-probabilities are
    called `token_id:375`. has_functions: it knows functions, the API before tools.
    """

    model: str | None = None
    streams: bool = False
    sends_usage: bool = False
    counts_usage: bool = False
    sends_reasoning: bool = True
    sends_token_ids: bool = False
    sends_prompt_logprobs: bool = False
    names_by_id: bool = False
    has_functions: bool = False


class GenerationBody(Body):
    """refused: fields nobody can honour that change the meaning, with the values that don't."""

    refused: ClassVar[Mapping[str, tuple[object, ...]]] = {
        "use_beam_search": (False,),
        "truncate_prompt_tokens": (-1,),
        "skip_special_tokens": (True,),
        "prompt_embeds": (),
        "logits_processors": ([],),
        "allowed_token_ids": ([],),
        "bad_words": ([],),
        "logprob_token_ids": ([],),
    }

    model: str | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    min_tokens: int = Field(default=0, ge=0)
    n: int = Field(default=1, ge=1, le=128)
    stop: Stop = ()
    stop_token_ids: tuple[int, ...] = ()
    include_stop_str_in_output: bool = False
    ignore_eos: bool = False
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    temperature: float | None = Field(default=None, ge=0)
    top_p: float | None = Field(default=None, ge=0, le=1)
    top_k: int | None = None
    min_p: float | None = Field(default=None, ge=0, le=1)
    repetition_penalty: float | None = Field(default=None, gt=0)
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    logit_bias: dict[str, float] = Field(default_factory=dict)
    seed: int | None = None
    response_format: ResponseFormat | None = None
    structured_outputs: StructuredOutputs | None = None
    guided_json: Schema | None = None
    guided_regex: str | None = None
    guided_choice: tuple[str, ...] | None = None
    guided_grammar: str | None = None
    prompt_logprobs: int | None = Field(default=None, ge=0)
    return_token_ids: bool = False
    return_tokens_as_token_ids: bool = False
    priority: int = 0
    cache_salt: str | None = Field(default=None, min_length=1)

    @abstractmethod
    def prompts(self) -> tuple[Prompt, ...]:
        """Raises InvalidRequest and its kin."""

    @abstractmethod
    def num_top_logprobs(self) -> int | None:
        """As GenerateRequest.top_logprobs."""

    def options(self) -> AnswerOptions:
        asked = self.stream_options
        return AnswerOptions(
            model=self.model,
            streams=self.stream,
            sends_usage=asked.include_usage,
            counts_usage=asked.include_usage and asked.continuous_usage_stats,
            sends_token_ids=self.return_token_ids,
            sends_prompt_logprobs=self.prompt_logprobs is not None,
            names_by_id=self.return_tokens_as_token_ids,
        )

    def length(self) -> int | None:
        """The most tokens to generate; None: what the window holds. -1 is how local clients say that."""
        asked = self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens
        return None if asked is None or asked < 0 else asked

    def sampling(self) -> Sampling:
        return Sampling(
            temperature=self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            min_p=self.min_p,
            repetition_penalty=self.repetition_penalty,
            presence_penalty=self.presence_penalty,
            frequency_penalty=self.frequency_penalty,
            logit_bias=self.biases(),
            seed=None if self.seed is None or self.seed == -1 else self.seed & MAX_SEED,
            order=TEMPERATURE_FIRST,
        )

    def biases(self) -> dict[int | str, float]:
        """Keys are token ids in decimal; any other key is the text of tokens."""
        return {int(key) if key.isdecimal() else key: bias for key, bias in self.logit_bias.items()}

    def constraint(self) -> OutputFormat | None:
        """Raises InvalidField or Unsupported."""
        guided = StructuredOutputs(
            json=self.guided_json, regex=self.guided_regex, choice=self.guided_choice, grammar=self.guided_grammar
        )
        for source in (self.structured_outputs, guided, self.response_format):
            output = source.to_output() if source else None
            if output is not None:
                return output
        return None

    def request(self, request_id: str) -> GenerateRequest:
        """Raises InvalidRequest and its kin."""
        self._refuse()
        return GenerateRequest(
            id=request_id,
            prompts=self.prompts(),
            max_tokens=self.length(),
            min_tokens=self.min_tokens,
            stop=tuple(text for text in self.stop if text),
            stop_token_ids=self.stop_token_ids,
            include_stop=self.include_stop_str_in_output,
            ignore_eos=self.ignore_eos,
            n=self.n,
            sampling=self.sampling(),
            top_logprobs=self.num_top_logprobs(),
            prompt_logprobs=self.prompt_logprobs,
            output=self.constraint(),
            priority=self.priority,
            cache_salt=self.cache_salt,
        )

    def _refuse(self) -> None:
        for name, value in (self.model_extra or {}).items():
            if name in self.refused and value not in self.refused[name]:
                raise Unsupported(f"'{name}' is not supported", feature=name, param=name)
        if self.stream and self.prompt_logprobs is not None:
            raise InvalidField("prompt_logprobs", "can't be streamed", self.prompt_logprobs)


def resolve(call: Call, model: str | None) -> Served:
    """The model that the path names, else the body. Raises UnknownModel."""
    return call.models.resolve(call.params.get("model") or model)
