"""The request of TGI's own routes: `inputs` and `parameters`, checked in TGI's order and refused in its words.

Wire facts: text-generation-inference router/src/lib.rs (GenerateRequest, GenerateParameters, default_parameters),
validation.rs (validate); server/text_generation_server/utils/tokens.py (when it samples).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import orjson
from pydantic import Field, StrictBool, StrictInt, StrictStr
from typing_extensions import assert_never

from adapters.body import Body, Fields
from adapters.openai.common import MAX_SEED
from adapters.tgi.errors import Rejected
from backends.request import TEMPERATURE_FIRST, GenerateRequest, JsonSchema, OutputFormat, Regex, Sampling, TextPrompt


@dataclass(frozen=True, slots=True)
class Limits:
    """What /info tells and validation holds to. Wider than TGI's defaults (2, 4, 5, 4), as operators set them."""

    best_of: int = 20
    stop_sequences: int = 64
    top_n_tokens: int = 20
    client_batch_size: int = 32


LIMITS = Limits()


class Grammar(Fields):
    """value: a schema (or its text), an object around one, or a pattern."""

    type: Literal["json", "json_object", "regex", "json_schema"]
    value: Any

    def to_output(self) -> OutputFormat:
        """Raises Rejected."""
        match self.type:
            case "regex":
                return Regex(str(self.value))
            case "json_schema":
                return JsonSchema(self._with_properties(isinstance(self.value, dict) and self.value.get("schema")))
            case "json" | "json_object":
                return JsonSchema(self._with_properties(self._object()))
            case _:
                assert_never(self.type)

    def _object(self) -> Any:
        try:
            return orjson.loads(self.value) if isinstance(self.value, str) else self.value
        except orjson.JSONDecodeError as error:
            raise Rejected(f"grammar is not valid: {error}", param="parameters.grammar.value") from None

    @staticmethod
    def _with_properties(schema: Any) -> dict[str, Any]:
        if not isinstance(schema, dict):
            raise Rejected("grammar is not supported", param="parameters.grammar.value")
        if "properties" not in schema:
            reason = "grammar is not valid: Grammar must have a 'properties' field"
            raise Rejected(reason, param="parameters.grammar.value")
        return schema


class Parameters(Fields):
    """As sent; nothing is out of range once `check` has passed. watermark and adapter_id have no effect."""

    best_of: StrictInt | None = Field(default=None, ge=0)
    temperature: float | None = None
    repetition_penalty: float | None = None
    frequency_penalty: float | None = None
    top_k: StrictInt | None = None
    top_p: float | None = None
    typical_p: float | None = None
    do_sample: StrictBool = False
    max_new_tokens: StrictInt | None = Field(default=None, ge=0)
    return_full_text: StrictBool = False
    stop: tuple[StrictStr, ...] = ()
    truncate: StrictInt | None = Field(default=None, ge=0)
    details: StrictBool = False
    decoder_input_details: StrictBool = False
    seed: StrictInt | None = Field(default=None, ge=0, le=MAX_SEED)
    top_n_tokens: StrictInt | None = Field(default=None, ge=0)
    grammar: Grammar | None = None

    def check(self, window: int) -> None:
        """Raises Rejected with TGI's first complaint. window: tokens of prompt and answer together."""
        for name, fault in self._faults(window):
            if fault:
                raise Rejected(fault, param=f"parameters.{name}")

    def _faults(self, window: int) -> Iterator[tuple[str, str | None]]:
        """In the order in which TGI looks."""
        yield "best_of", self._best_of_fault()
        yield "temperature", self._positive("temperature", self.temperature)
        yield "repetition_penalty", self._positive("repetition_penalty", self.repetition_penalty)
        if self.frequency_penalty is not None and not -2 <= self.frequency_penalty <= 2:
            yield "frequency_penalty", "`frequency_penalty` must be >= -2.0 and <= 2.0"
        yield "top_p", self._fraction("top_p", self.top_p)
        yield "typical_p", self._fraction("typical_p", self.typical_p)
        yield "top_k", self._positive("top_k", self.top_k)
        yield "max_new_tokens", self._positive("max_new_tokens", self.max_new_tokens)
        if len(self.stop) > LIMITS.stop_sequences:
            told = f"supports up to {LIMITS.stop_sequences} stop sequences. Given: {len(self.stop)}"
            yield "stop", f"`stop` {told}"
        if self.seed is not None and self.num_wanted > 1:
            yield "seed", "`seed` must not be set when `best_of` > 1"
        if (self.top_n_tokens or 0) > LIMITS.top_n_tokens:
            told = f"must be >= 0 and <= {LIMITS.top_n_tokens}. Given: {self.top_n_tokens}"
            yield "top_n_tokens", f"`top_n_tokens` {told}"
        if self.truncate is not None and not 0 < self.truncate < window:
            told = f"must be strictly positive and less than {window - 1}. Given: {self.truncate}"
            yield "truncate", f"`truncate` {told}"

    def _best_of_fault(self) -> str | None:
        if self.num_wanted > LIMITS.best_of:
            return f"`best_of` must be > 0 and <= {LIMITS.best_of}. Given: {self.num_wanted}"
        asked = (self.temperature, self.top_k, self.top_p, self.typical_p)
        samples = self.do_sample or any(value is not None for value in asked)
        return "you must use sampling when `best_of` is > 1" if self.num_wanted > 1 and not samples else None

    @staticmethod
    def _positive(name: str, value: float | None) -> str | None:
        return f"`{name}` must be strictly positive" if value is not None and value <= 0 else None

    @staticmethod
    def _fraction(name: str, value: float | None) -> str | None:
        return f"`{name}` must be > 0.0 and < 1.0" if value is not None and not 0 < value < 1 else None

    @property
    def num_wanted(self) -> int:
        return 1 if self.best_of is None else self.best_of

    @property
    def samples(self) -> bool:
        """A sampler that changes nothing doesn't make a request sample."""
        changes = (self.temperature not in (None, 1.0), self.top_k, self.top_p, self.typical_p)
        return self.do_sample or any(changes)

    def sampling(self) -> Sampling:
        """Without a seed one is drawn here, because `details` tell it."""
        seed = random.getrandbits(64) if self.seed is None else self.seed
        return Sampling(
            temperature=(self.temperature or 1.0) if self.samples else 0.0,
            top_k=self.top_k or 0,
            top_p=self.top_p or 1.0,
            min_p=0.0,
            typical_p=self.typical_p or 1.0,
            repetition_penalty=self.repetition_penalty or 1.0,
            presence_penalty=0.0,
            frequency_penalty=self.frequency_penalty or 0.0,
            order=TEMPERATURE_FIRST,
            seed=None if self.num_wanted > 1 else seed,
        )


class GenerateBody(Body):
    """Without `parameters` an answer is sampled; with them it is greedy unless they say otherwise."""

    inputs: StrictStr
    parameters: Parameters = Parameters(do_sample=True)
    stream: StrictBool = False

    def check(self, window: int, *, streams: bool) -> None:
        """Raises Rejected."""
        if streams and self.parameters.num_wanted != 1:
            raise Rejected("`best_of` != 1 is not supported when streaming tokens", param="parameters.best_of")
        if streams and self.parameters.decoder_input_details:
            reason = "`decoder_input_details` == true is not supported when streaming tokens"
            raise Rejected(reason, param="parameters.decoder_input_details")
        self.parameters.check(window)
        if not self.inputs:
            raise Rejected("`inputs` cannot be empty", param="inputs")

    def request(self, request_id: str, prompt: TextPrompt, *, streams: bool) -> GenerateRequest:
        """Every token of a stream has its log-probability; the text of a whole answer needs none."""
        asked = self.parameters
        wants_tokens = streams or asked.details or asked.decoder_input_details or asked.num_wanted > 1
        return GenerateRequest(
            id=request_id,
            prompts=(prompt,),
            max_tokens=asked.max_new_tokens,
            stop=tuple(text for text in asked.stop if text),
            include_stop=True,
            n=max(1, asked.num_wanted),
            sampling=asked.sampling(),
            top_logprobs=asked.top_n_tokens or 0 if wants_tokens else None,
            prompt_logprobs=0 if asked.decoder_input_details else None,
            output=asked.grammar.to_output() if asked.grammar else None,
        )
