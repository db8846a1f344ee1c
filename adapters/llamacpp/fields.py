"""The fields of a llama.cpp request: names, types, defaults and limits. Knows neither prompts nor answers.

Every generating route of the server reads these. A hard limit refuses, a soft one moves the value to the nearest that
is allowed; `null` is absent; of a field with several names the first that is present counts. Source: llama.cpp
tools/server/server-schema.cpp.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from adapters.llamacpp.errors import Refusal, missing_key, type_name, wrong_type
from adapters.llamacpp.field_types import INT_MAX, T, check_limits, field, flag, number, single, text
from backends.request import AnyJson, Gbnf, JsonSchema, OutputFormat

RANDOM_SEED = 2**32 - 1
SAMPLERS = ("penalties", "dry", "top_n_sigma", "top_k", "typ_p", "top_p", "min_p", "xtc", "temperature")
"""In the order of llama.cpp's default chain."""
REASONING_FORMATS = frozenset({"none", "auto", "deepseek", "deepseek-legacy"})
SCHEMA_FAILED = '"json_schema": JSON schema conversion failed:\nJSON schema error at #: '
BREAKERS = ("\n", ":", '"', "*")


_DRY_BASE = 1.75
_INTEGER = re.compile("-?[0-9]+")
_SAMPLER_LETTERS = {
    "d": "dry", "k": "top_k", "y": "typ_p", "p": "top_p", "s": "top_n_sigma", "m": "min_p", "t": "temperature",
    "x": "xtc", "i": "infill", "e": "penalties", "a": "adaptive_p",
}  # fmt: skip
_SAMPLER_NAMES = {
    alias: name for name in _SAMPLER_LETTERS.values() for alias in (name, name.replace("_", "-"), name.replace("_", ""))
} | {"nucleus": "top_p", "temp": "temperature", "typ": "typ_p"}


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
            return tuple(text(item) for item in value if item not in (None, [], {}))
        case _:
            return ()


def _read_samplers(value: object) -> tuple[str, ...]:
    """Names in many spellings, or one string of letters; what isn't known is left out."""
    match value:
        case str():
            return tuple(_SAMPLER_LETTERS[letter] for letter in value if letter in _SAMPLER_LETTERS)
        case list():
            names = (text(item).lower() for item in value)
            return tuple(_SAMPLER_NAMES[name] for name in names if name in _SAMPLER_NAMES)
        case _:
            return SAMPLERS


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


def _read_dry_base(value: object) -> float:
    """Below 1 it makes no sense, and the default holds."""
    if not isinstance(value, int | float):
        raise wrong_type("number", value)
    return single(value) if value >= 1 else _DRY_BASE


def _read_lora(value: object) -> tuple[tuple[int, float], ...]:
    """Of adapters that don't exist; told back all the same."""
    if not isinstance(value, list):
        raise Refusal("Error: 'lora' must be an array of objects with 'id' and 'scale' fields")
    entries = [entry if isinstance(entry, dict) else {} for entry in value]
    return tuple((_or(entry.get("id"), -1), single(_or(entry.get("scale"), 0.0))) for entry in entries)


def _or(value: object, default: T) -> T:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return type(default)(value) if is_number else default  # type: ignore[call-arg]


def _read_reasoning_format(value: object) -> str:
    if text(value) not in REASONING_FORMATS:
        raise Refusal(f"Unknown reasoning format: {value}")
    return text(value)


def _check_triggers(value: object) -> None:
    for trigger in value if isinstance(value, list) else [*value.values()] if isinstance(value, dict) else [value]:
        if not isinstance(trigger, dict):
            raise Refusal(f"[json.exception.type_error.304] cannot use at() with {type_name(trigger)}")
        if "type" not in trigger:
            raise missing_key("type")


def _check_texts(value: object) -> None:
    for item in value if isinstance(value, list) else [*value.values()] if isinstance(value, dict) else [value]:
        text(item)


def _read_include_usage(value: object) -> bool:
    return isinstance(value, dict) and value.get("include_usage") is True


def _read_output(body: Mapping[str, Any]) -> OutputFormat | None:
    """A grammar wins over a schema; an empty schema is any JSON object."""
    grammar, schema = body.get("grammar"), body.get("json_schema")
    match grammar, schema:
        case str(), _:
            return Gbnf(grammar) if grammar else None
        case None, dict():
            return JsonSchema(schema) if schema else AnyJson()
        case None, _ if schema is not None:
            raise Refusal(f"Field 'json_schema': {SCHEMA_FAILED}schema must be an object")
        case _:
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """What was asked, with the server's defaults. Names and order are the server's."""

    verbose: bool = flag(False)
    timings_per_token: bool = flag(False)
    stream: bool = flag(False)
    stream_options: bool = field(False, _read_include_usage)
    cache_prompt: bool = flag(True)
    return_tokens: bool = flag(False)
    return_progress: bool = flag(False)
    sse_ping_interval: int = number(30, hard=(-1, INT_MAX))
    n_predict: int = number(-1, hard=(-1, INT_MAX), also=("max_completion_tokens", "max_tokens"))
    n_indent: int = number(0, hard=(0, INT_MAX))
    n_keep: int = number(0, hard=(-1, INT_MAX))
    n_discard: int = number(0, hard=(0, INT_MAX))
    n_cmpl: int = number(1, also=("n",))  # its upper limit is the number of slots
    n_cache_reuse: int = number(0, hard=(0, INT_MAX))
    t_max_predict_ms: int = number(-1, hard=(-1, 2**63 - 1))
    response_fields: tuple[str, ...] = field((), _read_texts)
    top_k: int = number(40, soft=(0, INT_MAX))
    top_p: float = number(0.95, soft=(0.0, 1.0))
    min_p: float = number(0.05, soft=(0.0, 1.0))
    top_n_sigma: float = number(-1.0)
    xtc_probability: float = number(0.0, soft=(0.0, 1.0))
    xtc_threshold: float = number(0.1, soft=(0.0, 1.0))
    typical_p: float = number(1.0)
    temperature: float = number(0.8, soft=(0.0, math.inf))
    dynatemp_range: float = number(0.0)
    dynatemp_exponent: float = number(1.0)
    repeat_last_n: int = number(64, hard=(0, INT_MAX), once=-1)  # the whole context; it is still sent
    repeat_penalty: float = number(1.0)
    frequency_penalty: float = number(0.0)
    presence_penalty: float = number(0.0)
    dry_multiplier: float = number(0.0)
    dry_base: float = field(_DRY_BASE, _read_dry_base)
    dry_allowed_length: int = number(2, hard=(0, INT_MAX))
    dry_penalty_last_n: int = number(64, hard=(0, INT_MAX), once=-1)
    mirostat: int = number(0, soft=(0, 2))
    mirostat_tau: float = number(5.0)
    mirostat_eta: float = number(0.1)
    adaptive_target: float = number(-1.0, soft=(-math.inf, 1.0))
    adaptive_decay: float = number(0.9, hard=(0.0, 0.99))
    seed: int = number(RANDOM_SEED)
    n_probs: int = number(0, also=("logprobs",))
    min_keep: int = number(0, hard=(0, INT_MAX))
    backend_sampling: bool = flag(False)
    post_sampling_probs: bool = flag(False)
    dry_sequence_breakers: tuple[str, ...] = field(BREAKERS, _read_breakers)
    lora: tuple[tuple[int, float], ...] = field((), _read_lora)
    output: OutputFormat | None = None  # `grammar`, else `json_schema`
    grammar_lazy: bool = flag(False)
    chat_format: int = number(0)
    reasoning_format: str = field("deepseek", _read_reasoning_format)
    generation_prompt: str = field("", text)
    parse_tool_calls: bool = flag(True)
    echo: bool = flag(False)
    preserved_tokens: None = field(None, _check_texts)
    grammar_triggers: None = field(None, _check_triggers)
    reasoning_control: bool = flag(False)
    reasoning_budget_tokens: int = number(-1, hard=(-1, INT_MAX))
    logit_bias: tuple[tuple[int | str, float], ...] = field((), _read_logit_bias)
    ignore_eos: bool = flag(False)
    stop: tuple[str, ...] = field((), _read_stop)
    samplers: tuple[str, ...] = field(SAMPLERS, _read_samplers)

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
    "adaptive_decay", "adaptive_target", "backend_sampling", "chat_format", "echo", "generation_prompt", "grammar_lazy",
    "grammar_triggers", "lora", "min_keep", "n_cache_reuse", "n_discard", "n_keep", "parse_tool_calls",
    "preserved_tokens", "reasoning_budget_tokens", "reasoning_control", "reasoning_format", "verbose",
})  # fmt: skip
HONOURED = frozenset(
    name
    for attribute in _readable(Fields)
    for name in (attribute.name, *attribute.metadata["also"])
    if attribute.name not in _WITHOUT_EFFECT
) | {"grammar", "json_schema"}
"""The fields that have an effect, by all their names."""
