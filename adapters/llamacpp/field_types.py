"""The kinds of fields that a llama.cpp request has: how each reads a JSON value, and what it complains of.

A hard limit refuses, a soft one moves the value to the nearest that is allowed. Source: llama.cpp
tools/server/server-schema.h.
"""

from __future__ import annotations

import ctypes
import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

from adapters.llamacpp.errors import Refusal, wrong_type

INT_MAX = 2**31 - 1

Limits: TypeAlias = tuple[float, float]
T = TypeVar("T")


def single(value: float) -> float:
    """As a 32-bit float holds it: what the server stores and sends back."""
    return ctypes.c_float(value).value


def field(default: T, read: Callable[[Any], Any], also: Sequence[str] = ()) -> T:
    made: T = dataclasses.field(default=default, metadata={"read": read, "also": tuple(also)})
    return made


def number(
    default: T,
    *,
    hard: Limits | None = None,
    soft: Limits | None = None,
    also: Sequence[str] = (),
    once: float | None = None,
) -> T:
    """An int or a float, as the default is. once: a value beyond the limits that was legal once."""
    bits = 64 if hard is not None and hard[1] > INT_MAX else 32
    to_type: Callable[[float], float] = (lambda value: _signed(value, bits)) if isinstance(default, int) else single

    def read(value: object) -> float:
        if not isinstance(value, int | float) or (bits == 64 and isinstance(value, bool)):  # else a bool is 0 or 1
            raise wrong_type("number", value)
        cast = to_type(value)
        return cast if hard is None or cast == once else check_limits(cast, *hard)

    def clamp(value: object) -> float:
        least, most = soft or (-math.inf, math.inf)
        return max(least, min(most, read(value)))

    return field(default, clamp if soft else read, also)


def _signed(value: float, bits: int) -> int:
    """As C++ casts it on x86: an integer wraps around, a float that doesn't fit becomes the least number."""
    span: int = 2**bits
    if isinstance(value, float) and not -span / 2 <= value < span / 2:
        return -span // 2
    return (int(value) + span // 2) % span - span // 2


def check_limits(value: float, least: float, most: float) -> float:
    """Raises Refusal."""
    if least <= value <= most:
        return value
    told = [f"{shown:f}" if isinstance(value, float) else str(shown) for shown in (least, most, value)]
    raise Refusal(f"Value must be between {told[0]} <= value <= {told[1]}, but got {told[2]}")


def flag(default: bool) -> bool:
    def read(value: object) -> bool:
        if not isinstance(value, bool):
            raise wrong_type("boolean", value)
        return value

    return field(default, read)


def text(value: object) -> str:
    if not isinstance(value, str):
        raise wrong_type("string", value)
    return value
