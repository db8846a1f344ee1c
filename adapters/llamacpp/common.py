"""What every module of the llama.cpp dialect needs: who the server says it is, and how it sends JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapters.base import Reply
from adapters.framing import JSON_UTF8, to_json

BUILD_INFO = "b9000-dragoman"
"""Clients read a number after the `b`; this one stands for the llama.cpp that the dialect was learnt from, mid-2026."""

STREAM_HEADERS: Mapping[str, str] = {"X-Accel-Buffering": "no"}


def json_reply(value: Any) -> Reply:
    return Reply(to_json(value), content_type=JSON_UTF8)
