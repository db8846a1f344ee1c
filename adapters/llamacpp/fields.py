"""The fields of a llama.cpp request: names, types, defaults and limits. Knows neither prompts nor answers.

Every generating route of the server reads these. A hard limit refuses, a soft one moves the value to the nearest that
is allowed; `null` is absent; of a field with several names the first that is present counts. Source: llama.cpp
tools/server/server-schema.cpp.
"""

from __future__ import annotations

import ctypes
import dataclasses
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from adapters.llamacpp.errors import Refusal, wrong_type
from backends.request import AnyJson, Gbnf, JsonSchema, OutputFormat

INT_MAX = 2**31 - 1
RANDOM_SEED = 2**32 - 1
SAMPLERS = ("penalties", "dry", "top_n_sigma", "top_k", "typ_p", "top_p", "min_p", "xtc", "temperature")
"""In the order of llama.cpp's default chain."""
BREAKERS = ("\n", ":", '"', "*")

Limits: TypeAlias = tuple[float, float]
T = TypeVar("T")

_INTEGER = re.compile("-?[0-9]+")
_SAMPLER_LETTERS = {
    "d": "dry", "k": "top_k", "y": "typ_p", "p": "top_p", "s": "top_n_sigma", "m": "min_p", "t": "temperature",
    "x": "xtc", "i": "infill", "e": "penalties", "a": "adaptive_p",
}  # fmt: skip
_SAMPLER_NAMES = {
    alias: name for name in _SAMPLER_LETTERS.values() for alias in (name, name.replace("_", "-"), name.replace("_", ""))
} | {"nucleus": "top_p", "temp": "temperature", "typ": "typ_p"}


def single(value: float) -> float:
    """As a 32-bit float holds it: what the server stores and sends back."""
    return ctypes.c_float(value).value


def _number(default: T, *, hard: Limits | None = None, soft: Limits | None = None, also: Sequence[str] = ()) -> T:
    """An int or a float, as the default is."""
    to_type: Callable[[float], float] = int if isinstance(default, int) else single

    def read(value: object) -> float:
        if not isinstance(value, int | float):  # a bool is 0 or 1
            raise wrong_type("number", value)
        number = to_type(value)
        return number if hard is None else check_limits(number, *hard)

    def clamp(value: object) -> float:
        least, most = soft or (-math.inf, math.inf)
        return max(least, min(most, read(value)))

    return _field(default, clamp if soft else read, also)


def check_limits(value: float, least: float, most: float) -> float:
    """Raises Refusal."""
    if least <= value <= most:
        return value
    shown = [f"{number:f}" if isinstance(value, float) else str(number) for number in (least, most, value)]
    raise Refusal(f"Value must be between {shown[0]} <= value <= {shown[1]}, but got {shown[2]}")


def _flag(default: bool) -> bool:
    def read(value: object) -> bool:
        if not isinstance(value, bool):
            raise wrong_type("boolean", value)
        return value

    return _field(default, read)


def _field(default: T, read: Callable[[Any], Any], also: Sequence[str] = ()) -> T:
    value: T = dataclasses.field(default=default, metadata={"read": read, "also": tuple(also)})
    return value


def _read_texts(value: object) -> tuple[str, ...]:
    """Anything else than an array of strings counts as none."""
    is_texts = isinstance(value, list) and all(isinstance(item, str) for item in value)
    return tuple(value) if is_texts and isinstance(value, list) else ()


def _read_breakers(value: object) -> tuple[str, ...]:
    breakers = _read_texts(value)
    if not breakers:
        raise Refusal("Error: dry_sequence_breakers must be a non-empty array of strings")
    return breakers


def _read_stop(value: object) -> tuple[str, ...]:
    match value:
        case str():
            return (value,)
        case list():
            return tuple(_text(item) for item in value if item not in (None, [], {}))
        case _:
            return ()


def _read_samplers(value: object) -> tuple[str, ...]:
    """Names in many spellings, or one string of letters; what isn't known is left out."""
    match value:
        case str():
            return tuple(_SAMPLER_LETTERS[letter] for letter in value if letter in _SAMPLER_LETTERS)
        case list():
            names = (_text(item).lower() for item in value)
            return tuple(_SAMPLER_NAMES[name] for name in names if name in _SAMPLER_NAMES)
        case _:
            return SAMPLERS


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise wrong_type("string", value)
    return value


def _read_logit_bias(value: object) -> tuple[tuple[int | str, float], ...]:
    """`[[token, bias], …]` or `{token: bias}`, where a token is an id or text, and `false` bans it. Other entries are
    passed over, as the server does."""
    match value:
        case dict():
            pairs = [(int(key) if _INTEGER.fullmatch(key) else key, bias) for key, bias in value.items()]
        case list():
            pairs = [(item[0], item[1]) for item in value if isinstance(item, list) and len(item) == 2]
        case _:
            return ()
    return tuple(
        (token, -math.inf if bias is False else float(bias))
        for token, bias in pairs
        if isinstance(token, int | str) and not isinstance(token, bool) and isinstance(bias, int | float)
        if bias is not True
    )


def _read_include_usage(value: object) -> bool:
    return isinstance(value, dict) and value.get("include_usage") is True


def _read_output(body: Mapping[str, Any]) -> OutputFormat | None:
    """A grammar wins over a schema; an empty schema is any JSON object."""
    grammar, schema = body.get("grammar"), body.get("json_schema")
    match grammar, schema:
        case str(), _:
            return Gbnf(grammar) if grammar else None
        case None, dict() | bool():
            return JsonSchema(schema) if schema != {} else AnyJson()
        case None, _ if schema is not None:
            raise Refusal(f"Field 'json_schema': \"json_schema\": {wrong_type('object', schema).message}")
        case _:
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """What was asked, with the server's defaults. Names and order are the server's."""

    timings_per_token: bool = _flag(False)
    stream: bool = _flag(False)
    stream_options: bool = _field(False, _read_include_usage)
    cache_prompt: bool = _flag(True)
    return_tokens: bool = _flag(False)
    return_progress: bool = _flag(False)
    sse_ping_interval: int = _number(30, hard=(-1, INT_MAX))
    n_predict: int = _number(-1, hard=(-1, INT_MAX), also=("max_completion_tokens", "max_tokens"))
    n_indent: int = _number(0, hard=(0, INT_MAX))
    n_keep: int = _number(0, hard=(-1, INT_MAX))
    n_discard: int = _number(0, hard=(0, INT_MAX))
    n_cmpl: int = _number(1, also=("n",))  # its upper limit is the number of slots
    n_cache_reuse: int = _number(0, hard=(0, INT_MAX))
    t_max_predict_ms: int = _number(-1, hard=(-1, 2**63 - 1))
    response_fields: tuple[str, ...] = _field((), _read_texts)
    top_k: int = _number(40, soft=(0, INT_MAX))
    top_p: float = _number(0.95, soft=(0.0, 1.0))
    min_p: float = _number(0.05, soft=(0.0, 1.0))
    top_n_sigma: float = _number(-1.0)
    xtc_probability: float = _number(0.0, soft=(0.0, 1.0))
    xtc_threshold: float = _number(0.1, soft=(0.0, 1.0))
    typical_p: float = _number(1.0)
    temperature: float = _number(0.8, soft=(0.0, math.inf))
    dynatemp_range: float = _number(0.0)
    dynatemp_exponent: float = _number(1.0)
    repeat_last_n: int = _number(64, hard=(-1, INT_MAX))  # -1, the whole context, was legal once and is still sent
    repeat_penalty: float = _number(1.0)
    frequency_penalty: float = _number(0.0)
    presence_penalty: float = _number(0.0)
    dry_multiplier: float = _number(0.0)
    dry_base: float = _number(1.75)
    dry_allowed_length: int = _number(2, hard=(0, INT_MAX))
    dry_penalty_last_n: int = _number(64, hard=(-1, INT_MAX))
    mirostat: int = _number(0, soft=(0, 2))
    mirostat_tau: float = _number(5.0)
    mirostat_eta: float = _number(0.1)
    adaptive_target: float = _number(-1.0, soft=(-math.inf, 1.0))
    adaptive_decay: float = _number(0.9, hard=(0.0, 0.99))
    seed: int = _number(RANDOM_SEED)
    n_probs: int = _number(0, also=("logprobs",))
    min_keep: int = _number(0, hard=(0, INT_MAX))
    backend_sampling: bool = _flag(False)
    post_sampling_probs: bool = _flag(False)
    dry_sequence_breakers: tuple[str, ...] = _field(BREAKERS, _read_breakers)
    output: OutputFormat | None = None  # `grammar`, else `json_schema`
    logit_bias: tuple[tuple[int | str, float], ...] = _field((), _read_logit_bias)
    ignore_eos: bool = _flag(False)
    stop: tuple[str, ...] = _field((), _read_stop)
    samplers: tuple[str, ...] = _field(SAMPLERS, _read_samplers)

    @classmethod
    def read(cls, body: Mapping[str, Any], *, num_slots: int) -> Fields:
        """num_slots: the most completions that one request may ask for. Raises Refusal, naming the field."""
        values: dict[str, Any] = {"output": _read_output(body)}
        for attribute in _readable(cls):
            name = _present(body, attribute)
            if name is None:
                continue
            try:
                values[attribute.name] = attribute.metadata["read"](body[name])
                if attribute.name == "n_cmpl":
                    check_limits(values["n_cmpl"], 1, num_slots)
            except Refusal as refusal:
                raise Refusal(f"Field '{name}': {refusal.message}") from None
        return cls(**values)


def _readable(cls: type[Fields]) -> Iterator[dataclasses.Field[Any]]:
    return (attribute for attribute in dataclasses.fields(cls) if attribute.metadata)


def _present(body: Mapping[str, Any], attribute: dataclasses.Field[Any]) -> str | None:
    names = (attribute.name, *attribute.metadata["also"])
    return next((name for name in names if body.get(name) is not None), None)


_WITHOUT_EFFECT = frozenset({
    "adaptive_decay", "adaptive_target", "backend_sampling", "min_keep", "n_cache_reuse", "n_discard", "n_keep",
})  # fmt: skip
HONOURED = frozenset(
    name
    for attribute in _readable(Fields)
    for name in (attribute.name, *attribute.metadata["also"])
    if attribute.name not in _WITHOUT_EFFECT
) | {"grammar", "json_schema"}
"""The fields that have an effect, by all their names."""
