"""Ollama's `options`, `format` and `think`: their types, defaults and meaning. Knows no route.

Options that nobody knows are ignored and reported, those of a wrong type are refused, and those that say how to load
a model have no effect here: the window is the model's own, so a tiny `num_ctx` cuts nothing off. Wire facts: ollama
api/types.go (Options, FromMap, DefaultOptions, ThinkValue), llm/llama_server.go.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator

from adapters.base import Call
from adapters.framing import to_json
from adapters.ollama.errors import Fault
from adapters.ollama.json import quoted
from backends.errors import InvalidRequest
from backends.request import TEMPERATURE_FIRST, AnyJson, JsonSchema, OutputFormat, Sampling

_Kind: TypeAlias = Literal["integer", "float32", "boolean", "array"]

_KINDS: Mapping[str, _Kind] = {
    "num_ctx": "integer", "num_batch": "integer", "num_gpu": "integer", "main_gpu": "integer",
    "use_mmap": "boolean", "num_thread": "integer", "draft_num_predict": "integer",
    "num_keep": "integer", "seed": "integer", "num_predict": "integer", "top_k": "integer", "top_p": "float32",
    "min_p": "float32", "typical_p": "float32", "repeat_last_n": "integer", "temperature": "float32",
    "repeat_penalty": "float32", "presence_penalty": "float32", "frequency_penalty": "float32", "stop": "array",
}  # fmt: skip
_WITHOUT_EFFECT = frozenset(
    {"num_ctx", "num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread", "draft_num_predict", "num_keep"}
)
_DEFAULTS: Mapping[str, Any] = {
    "num_predict": -1, "temperature": 0.8, "top_k": 40, "top_p": 0.9, "min_p": 0.0, "typical_p": 1.0,
    "repeat_last_n": 64, "repeat_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0, "seed": -1,
    "stop": (),
}  # fmt: skip
_RANDOM_SEED = 2**32 - 1
_LEVELS = ("high", "medium", "low", "max")
_CHOICES = '"high", "medium", "low", "max", true, or false'


class Options:
    """The options of one request, checked; what isn't said has Ollama's default."""

    def __init__(self, options: Mapping[str, Any], call: Call) -> None:
        """Raises Fault for a wrong type; notes on the call what is ignored."""
        self._values = dict(_DEFAULTS)
        for name, value in options.items():
            if name not in _KINDS or name in _WITHOUT_EFFECT:
                call.ignored.append(f"options.{name}")
            if name in _KINDS and value is not None:
                self._values[name] = _checked(name, value)

    def max_tokens(self) -> int | None:
        """0 is no limit too: it is left out of what Ollama sends to its runner, which then has none."""
        asked: int = self._values["num_predict"]
        return asked if asked > 0 else None

    def stop(self) -> tuple[str, ...]:
        return tuple(text for text in self._values["stop"] if text)

    def sampling(self) -> Sampling:
        """Values out of range are what clients send for `no limit` or `as you like`, so they are never refused."""
        values = self._values
        sampling = Sampling(
            temperature=max(0.0, values["temperature"]),
            top_k=max(0, values["top_k"]),
            top_p=_DEFAULTS["top_p"] if values["top_p"] < 0 else min(1.0, values["top_p"]),
            min_p=min(1.0, max(0.0, values["min_p"])),
            typical_p=values["typical_p"] if 0 < values["typical_p"] < 1 else 1.0,
            seed=_seed(values["seed"]),
            penalize_prompt=True,
            order=TEMPERATURE_FIRST,  # ollama sample/samplers.go
        )
        if values["repeat_last_n"] != 0:  # no window, no penalties
            sampling.penalty_window = max(-1, values["repeat_last_n"])
            sampling.repetition_penalty = values["repeat_penalty"] if values["repeat_penalty"] > 0 else 1.0
            sampling.presence_penalty = values["presence_penalty"]
            sampling.frequency_penalty = values["frequency_penalty"]
        return sampling


def _checked(name: str, value: object) -> Any:
    match _KINDS[name], value:
        case "boolean", bool():
            return value
        case (("integer" | "float32"), bool()):
            pass
        case "integer", int() | float() if math.isfinite(value):
            return int(value)
        case "float32", int() | float() if math.isfinite(value):
            return float(value)
        case "array", list() if all(isinstance(item, str) for item in value):
            return tuple(value)
        case "array", list():
            raise Fault(f"option {quoted(name)} must be of an array of strings", param=f"options.{name}")
        case _:
            pass
    raise Fault(f"option {quoted(name)} must be of type {_KINDS[name]}", param=f"options.{name}")


def _seed(value: int) -> int | None:
    """The runner keeps 32 bits, and all of them set means: draw one."""
    seed = value % 2**32
    return None if seed == _RANDOM_SEED else seed


def to_output(value: object) -> OutputFormat | None:
    """`format`: nothing, "json" or a schema. Raises Fault."""
    match value:
        case None | "":
            return None
        case "json":
            return AnyJson()
        case dict():
            return JsonSchema(value)
        case _:
            sent = to_json(value).decode()
            raise Fault(
                f'invalid format: {quoted(sent)}; expected "json" or a valid JSON Schema object', param="format"
            )


def _read_think(value: Any) -> Any:
    match value:
        case bool():
            return value
        case str() if value in _LEVELS:
            return value
        case str():
            raise InvalidRequest(f"invalid think value: {quoted(value)} (must be {_CHOICES})", param="think")
        case _:
            raise InvalidRequest(f"think must be a boolean or string ({_CHOICES})", param="think")


Think: TypeAlias = Annotated[bool | str, BeforeValidator(_read_think)]
