"""How a body becomes typed fields in llama-cpp-python: as FastAPI does it, complaints included.

The fields that its two generating routes share, with its defaults: top_p .95, min_p .05, repeat_penalty 1.1. Wire
facts: llama-cpp-python llama_cpp/server/types.py, llama_cpp/llama.py (_init_sampler).
"""

from __future__ import annotations

import json
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from typing_extensions import Self

from adapters.base import Call
from adapters.llamacpp_python.errors import invalid_body
from adapters.openai.common import MAX_SEED, AnswerOptions
from backends.errors import InvalidRequest, MalformedBody
from backends.request import TEMPERATURE_LAST, Gbnf, Mirostat, OutputFormat, Sampling

_PENALTY_WINDOW = 64  # tokens


class PythonBody(BaseModel):
    """handler, line: the server's function for this body, and where it stands; a complaint names both."""

    model_config = ConfigDict(extra="ignore", protected_namespaces=())
    handler: ClassVar[str]
    line: ClassVar[int]
    without_effect: ClassVar[frozenset[str]] = frozenset({"user"})

    model: str | None = None
    user: str | None = None

    @classmethod
    def parse(cls, call: Call) -> Self:
        """Raises MalformedBody or InvalidRequest; notes what has no effect on the call. null isn't absent here."""
        value = _read(call)
        try:
            body = cls.model_validate(value, from_attributes=True)
        except ValidationError as invalid:
            faults = [dict(fault, loc=("body", *fault["loc"])) for fault in invalid.errors(include_url=False)]
            raise invalid_body(call, faults, cls.handler, cls.line) from None
        call.ignored += [name for name in value if name in cls.without_effect or name not in cls.model_fields]
        return body


def _read(call: Call) -> Any:
    """As Python reads JSON: NaN is a number, and an integer may have any size. Raises MalformedBody, and InvalidRequest
    for half a surrogate pair, which Python can't encode."""
    try:
        value = json.loads(call.body)
    except (ValueError, RecursionError) as error:
        raise MalformedBody(str(error), body=call.body) from None
    if b"\\u" in call.body:
        _check_text(value)
    return value if _is_json(call) else call.body


def _check_text(value: Any) -> None:
    match value:
        case str():
            try:
                value.encode()
            except UnicodeEncodeError as error:
                raise InvalidRequest(str(error)) from None
        case list():
            for item in value:
                _check_text(item)
        case dict():
            _check_text([*value.values()])


def _is_json(call: Call) -> bool:
    """FastAPI takes a body for bytes unless its Content-Type says otherwise. On other listeners nobody minds."""
    if call.persona != "llamacpp-python":
        return True
    kind, _, subtype = call.headers.get("Content-Type", "").partition(";")[0].strip().lower().partition("/")
    return kind == "application" and (subtype == "json" or subtype.endswith("+json"))


class GenerationBody(PythonBody):
    """n, best_of and user have no effect, there neither."""

    without_effect: ClassVar[frozenset[str]] = frozenset({"n", "best_of", "user"})

    max_tokens: int | None = None
    min_tokens: int = Field(default=0, ge=0)
    temperature: float = 0.8
    top_p: float = Field(default=0.95, ge=0.0, le=1.0)
    min_p: float = Field(default=0.05, ge=0.0, le=1.0)
    stop: str | list[str] | None = None
    stream: bool = False
    presence_penalty: float | None = Field(default=0.0, ge=-2.0, le=2.0)
    frequency_penalty: float | None = Field(default=0.0, ge=-2.0, le=2.0)
    logit_bias: dict[str, float] | None = None
    seed: int | None = None
    n: int | None = 1
    top_k: int = Field(default=40, ge=0)
    repeat_penalty: float = Field(default=1.1, ge=0.0)
    logit_bias_type: Literal["input_ids", "tokens"] | None = None
    mirostat_mode: int = Field(default=0, ge=0, le=2)
    mirostat_tau: float = Field(default=5.0, ge=0.0, le=10.0)
    mirostat_eta: float = Field(default=0.1, ge=0.001, le=1.0)
    grammar: str | None = None

    def options(self) -> AnswerOptions:
        return AnswerOptions(model=self.model, streams=self.stream)

    def length(self) -> int | None:
        """Zero is as much as the window holds."""
        return self.max_tokens if self.max_tokens is not None and self.max_tokens > 0 else None

    def stops(self) -> tuple[str, ...]:
        stops = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return tuple(stop for stop in stops if stop)

    def constraint(self) -> OutputFormat | None:
        return Gbnf(self.grammar) if self.grammar else None

    def sampling(self) -> Sampling:
        """Below zero a temperature means none: the model's own distribution, uncut."""
        is_plain = self.temperature < 0
        return Sampling(
            temperature=1.0 if is_plain else self.temperature,
            top_k=0 if is_plain else self.top_k,
            top_p=1.0 if is_plain else self.top_p,
            min_p=0.0 if is_plain else self.min_p,
            typical_p=1.0,
            repetition_penalty=self.repeat_penalty or 1.0,
            presence_penalty=self.presence_penalty or 0.0,
            frequency_penalty=self.frequency_penalty or 0.0,
            penalty_window=_PENALTY_WINDOW,
            mirostat=self._mirostat(),
            order=TEMPERATURE_LAST,
            logit_bias=self._biases(),
            seed=None if self.seed is None else self.seed & MAX_SEED,
        )

    def _mirostat(self) -> Mirostat | None:
        if self.mirostat_mode == 0 or self.temperature <= 0:
            return None
        return Mirostat(1 if self.mirostat_mode == 1 else 2, self.mirostat_tau, self.mirostat_eta)

    def _biases(self) -> dict[int | str, float | Literal[False]]:
        """By token id, unless the client says that its keys are the text of tokens."""
        by_text = self.logit_bias_type == "tokens"
        biases: dict[int | str, float | Literal[False]] = {}
        for key, bias in (self.logit_bias or {}).items():
            biases[key if by_text else _token_id(key)] = bias
        return biases


def _token_id(key: str) -> int:
    """Raises InvalidRequest in Python's words."""
    try:
        return int(key)
    except ValueError as error:
        raise InvalidRequest(str(error), param="logit_bias") from None
