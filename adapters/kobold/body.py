"""The request of KoboldCpp's own generating routes, with its defaults and samplers.

Wire facts: koboldcpp.py 1.115 (transform_genparams, generate), expose.h (the samplers' numbers), gpttype_adapter.cpp
(SampleLogits: in which order they act).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar, Literal

import orjson
from pydantic import BeforeValidator, Field

from adapters.base import Call
from adapters.body import Body
from backends.errors import InvalidField
from backends.request import (
    Dry,
    Gbnf,
    GenerateRequest,
    JsonSchema,
    Mirostat,
    OutputFormat,
    SamplerName,
    Sampling,
    TextPrompt,
    Xtc,
)

_SAMPLERS: Mapping[int, tuple[SamplerName, ...]] = {
    0: ("top_k",),
    2: ("top_p", "min_p"),
    4: ("typical_p",),
    5: ("temperature", "top_n_sigma"),
}
"""1, 3 and 6 are top_a and tail-free sampling, which no backend has, and the penalties, which always come first."""
_NEUTRAL: Mapping[str, tuple[object, ...]] = {
    "top_a": (0,), "tfs": (1,), "rep_pen_slope": (0, 1), "smoothing_factor": (0,), "smoothing_curve": (1,),
    "adaptive_target": (-1, 0), "guidance_scale": (1,), "negative_prompt": ("",), "images": ([],), "audio": ([],),
    "grammar_retain_state": (False,), "render_special": (False,),
}  # fmt: skip
"""What nobody honours, with the values that ask for nothing: frontends send every field they know."""
_FOR_FORM = frozenset({"quiet", "max_context_length", "adaptive_decay", "use_default_badwordsids", "reasoning_effort"})
_MAX_SEED = 2**32 - 1


def _as_strings(value: Any) -> Any:
    """SillyTavern sends the breakers as the text of a JSON array; a lone string is one item."""
    if not isinstance(value, str):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return [value]


Strings = Annotated[tuple[str, ...], BeforeValidator(_as_strings)]


class GenerateBody(Body):
    """rep_pen has two more names; the strongest counts. banned_tokens: phrases; SillyTavern calls them strings."""

    default_length: ClassVar[int] = 2048

    prompt: str = ""
    memory: str = ""
    max_length: int = Field(default=default_length, ge=0)
    n: int = Field(default=1, ge=1, le=128)
    temperature: float = 0.7
    top_k: int = 100
    top_p: float = 0.9
    min_p: float = 0.0
    typical: float = 1.0
    nsigma: float = 0.0
    rep_pen: float = 1.0
    repeat_penalty: float = 1.0
    repetition_penalty: float = 1.0
    rep_pen_range: int = 320
    presence_penalty: float = 0.0
    mirostat: int = 0
    mirostat_tau: float = 5.0
    mirostat_eta: float = 0.1
    dynatemp_range: float = 0.0
    dynatemp_exponent: float = 1.0
    dry_multiplier: float = 0.0
    dry_base: float = 1.75
    dry_allowed_length: int = 2
    dry_penalty_last_n: int = 320
    dry_sequence_breakers: Strings = ()
    xtc_threshold: float = 0.2
    xtc_probability: float = 0.0
    sampler_order: tuple[int, ...] = (6, 0, 1, 3, 4, 2, 5)
    sampler_seed: int = -1
    stop_sequence: Strings = ()
    trim_stop: bool = True
    ban_eos_token: bool = False
    bypass_eos: bool = False
    grammar: str | dict[str, Any] = ""
    logit_bias: dict[str, float] = Field(default_factory=dict)
    custom_token_bans: str = ""
    banned_tokens: Strings = ()
    banned_strings: Strings = ()
    logprobs: bool | int = False
    genkey: str = ""

    @classmethod
    def parse(cls, call: Call) -> GenerateBody:
        body = super().parse(call)
        extra = body.model_extra or {}
        asks_nothing = {name for name, value in extra.items() if name in _FOR_FORM or value in _NEUTRAL.get(name, ())}
        call.ignored[:] = [name for name in call.ignored if name not in asks_nothing]
        return body

    @property
    def phrases(self) -> tuple[str, ...]:
        return self.banned_tokens or self.banned_strings

    def request(self, request_id: str, banned: Iterable[int]) -> GenerateRequest:
        """banned: tokens that may not come up. Raises InvalidField."""
        sampling = self.sampling()
        sampling.logit_bias |= dict.fromkeys(banned, False)
        return GenerateRequest(
            id=request_id,
            prompts=(TextPrompt((self.memory + self.prompt,)),),
            max_tokens=self.max_length,
            stop=tuple(text for text in self.stop_sequence if text),
            include_stop=not self.trim_stop,
            ignore_eos=self.ban_eos_token or self.bypass_eos,
            n=self.n,
            sampling=sampling,
            top_logprobs=10 if self.logprobs else None,
            output=self._output(),
        )

    def sampling(self) -> Sampling:
        """Raises InvalidField."""
        return Sampling(
            temperature=max(0.0, self.temperature),
            top_k=self.top_k,
            top_p=self.top_p,
            min_p=self.min_p,
            typical_p=self.typical,
            top_n_sigma=self.nsigma,
            repetition_penalty=max(self.rep_pen, self.repeat_penalty, self.repetition_penalty),
            presence_penalty=self.presence_penalty,
            frequency_penalty=0.0,
            penalty_window=max(1, self.rep_pen_range),
            penalize_prompt=True,
            temperature_range=abs(self.dynatemp_range),
            temperature_exponent=max(0.0, self.dynatemp_exponent),
            dry=self._dry(),
            xtc=Xtc(self.xtc_probability, self.xtc_threshold) if self.xtc_probability > 0 else None,
            mirostat=self._mirostat(),
            order=(*(name for number in self.sampler_order for name in _SAMPLERS.get(number, ())), "xtc"),
            logit_bias=self._biases(),
            seed=None if self.sampler_seed <= 0 else self.sampler_seed & _MAX_SEED,
        )

    def _dry(self) -> Dry | None:
        if self.dry_multiplier <= 0:
            return None
        window = self.dry_penalty_last_n if self.dry_penalty_last_n > 0 else -1
        return Dry(self.dry_multiplier, self.dry_base, self.dry_allowed_length, window, self.dry_sequence_breakers)

    def _mirostat(self) -> Mirostat | None:
        versions: dict[int, Literal[1, 2]] = {1: 1, 2: 2}
        version = versions.get(self.mirostat)
        return Mirostat(version, self.mirostat_tau, self.mirostat_eta) if version else None

    def _biases(self) -> dict[int | str, float | Literal[False]]:
        biases: dict[int | str, float | Literal[False]] = {}
        for key, bias in self.logit_bias.items():
            if not key.isdecimal():
                raise InvalidField(f"logit_bias.{key}", "keys are token ids", key)
            biases[int(key)] = bias
        banned = (token.strip() for token in self.custom_token_bans.split(","))
        return biases | {int(token): False for token in banned if token.isdecimal()}

    def _output(self) -> OutputFormat | None:
        """A grammar that is JSON is a schema."""
        if isinstance(self.grammar, dict):
            return JsonSchema(self.grammar)
        try:
            schema = orjson.loads(self.grammar)
        except orjson.JSONDecodeError:
            return Gbnf(self.grammar) if self.grammar.strip() else None
        return JsonSchema(schema) if isinstance(schema, dict) else Gbnf(self.grammar)
