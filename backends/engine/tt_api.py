"""Which of tt-metal's Generators this is, found out from the signatures of its methods: it has no version to ask for.

The history, read from models/tt_transformers/tt/generator.py: `decode_forward_text` took `reset_batch` by February 2026
and became `decode_forward` in the same month (a name that until then was the vision model's); since August 2026 the
caller commands what is copied to the device (`reload_inputs` and three more) and `reset_batch` is gone. Pure.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Commands: TypeAlias = Literal["none", "reset_batch", "reload"]

KNOWN = (
    "that of July 2025 to January 2026 (decode_forward_text, empty_slots)",
    "that of February 2026, ttnn 0.66 (decode_forward_text, reset_batch)",
    "that of February 2026 and later, from ttnn 0.67 (decode_forward, reset_batch)",
    "that of August 2026 and later, contract 1 (decode_forward, reload_inputs)",
)
_PREFILL_NEEDS = {"tokens", "page_table", "kv_cache", "prompt_lens", "empty_slots"}
_DECODE_NEEDS = {"tokens", "start_pos", "page_table", "kv_cache", "enable_trace", "read_from_device"}
_PREFILL_TAKES = _PREFILL_NEEDS | {
    "enable_trace", "model_id_warmup", "sampling_params", "start_pos", "return_hidden_states", "warmup_prefill",
    "page_tables_per_layer",
}  # fmt: skip
_RELOADS = {"reload_inputs", "reload_page_table", "reload_sampling_params", "reset_sampling_state"}


class UnknownGenerator(Exception):
    """One line: what is odd, and which Generators are known."""


@dataclass(frozen=True, slots=True)
class GeneratorApi:
    """decode: the method's name. prefill_takes: the optional arguments of prefill_forward_text. commands: how a decode
    is told that its batch has changed. reads_events: read_decode_output can be waited for. names_batch:
    read_decode_output wants the batch size, and answers with a tensor of torch's."""

    version: str
    decode: str
    prefill_takes: frozenset[str]
    commands: Commands
    reads_events: bool
    names_batch: bool

    @property
    def resumes(self) -> bool:
        """A prefill can start behind cached tokens."""
        return "start_pos" in self.prefill_takes

    @property
    def samples(self) -> bool:
        """On the device, each row by its own parameters. Older ones share one trace between sampling and not."""
        return self.commands != "none"


def detect(generator: type[Any]) -> GeneratorApi:
    """Raises UnknownGenerator."""
    prefill = _parameters(generator, "prefill_forward_text")
    name = "decode_forward_text" if hasattr(generator, "decode_forward_text") else "decode_forward"
    decode = _parameters(generator, name)
    _check("prefill_forward_text", prefill, _PREFILL_NEEDS)
    _check(name, decode, _DECODE_NEEDS)
    if demanded := _demanded(prefill) - _PREFILL_TAKES:
        raise _unknown(f"its prefill_forward_text demands {', '.join(sorted(demanded))}")
    commands, version = _commands(name, decode)
    if demanded := _demanded(decode) - _DECODE_NEEDS - _RELOADS:
        raise _unknown(f"its {name} demands {', '.join(sorted(demanded))}")
    read = _parameters(generator, "read_decode_output")
    return GeneratorApi(
        version=version,
        decode=name,
        prefill_takes=frozenset(prefill) & _PREFILL_TAKES,
        commands=commands,
        reads_events="async_read" in read,
        names_batch="unpadded_batch" in read,
    )


def _commands(decode_name: str, decode: dict[str, inspect.Parameter]) -> tuple[Commands, str]:
    is_text = decode_name == "decode_forward_text"
    if decode.keys() >= _RELOADS:
        return "reload", KNOWN[3]
    if "reset_batch" in decode:
        return "reset_batch", KNOWN[1 if is_text else 2]
    if is_text:
        return "none", KNOWN[0]
    raise _unknown("its decode_forward takes neither reset_batch nor reload_inputs")


def _parameters(generator: type[Any], name: str) -> dict[str, inspect.Parameter]:
    method: Callable[..., Any] | None = getattr(generator, name, None)
    if method is None:
        raise _unknown(f"it has no {name}")
    return {key: each for key, each in inspect.signature(method).parameters.items() if key != "self"}


def _demanded(parameters: dict[str, inspect.Parameter]) -> set[str]:
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {
        name
        for name, each in parameters.items()
        if each.default is inspect.Parameter.empty and each.kind not in variadic
    }


def _check(name: str, parameters: dict[str, inspect.Parameter], needed: set[str]) -> None:
    if missing := needed - parameters.keys():
        raise _unknown(f"its {name} doesn't take {', '.join(sorted(missing))}")


def _unknown(what: str) -> UnknownGenerator:
    return UnknownGenerator(f"this tt-metal's Generator isn't known: {what}. Known are {'; '.join(KNOWN)}")
