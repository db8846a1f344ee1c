"""Parts of answers that Ollama's routes and its OpenAI layer share: log-probabilities and tool calls.

Wire facts: ollama api/types.go (Logprob, ToolCall), server/logprob.go, server/routes.go (toolCallId).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from adapters.ollama.json import go_number, quoted
from backends.errors import BackendFailed
from backends.events import CompletedCall, Finished, TokenLogprob

_CALL_ID = re.compile(r"call_[a-z0-9]{8}")


def to_logprobs(tokens: Iterable[TokenLogprob]) -> list[dict[str, Any]]:
    """`[{token, logprob, bytes, top_logprobs}]`; the last two are left out when they are empty."""
    return [_entry(token) | ({"top_logprobs": list(map(_entry, token.top))} if token.top else {}) for token in tokens]


def _entry(token: TokenLogprob) -> dict[str, Any]:
    entry = {"token": token.text, "logprob": go_number(token.logprob)}
    return entry | {"bytes": list(token.bytes)} if token.bytes else entry


def to_calls(calls: Iterable[CompletedCall]) -> list[dict[str, Any]]:
    """`[{id, function: {index, name, arguments}}]`; arguments are an object. Raises BackendFailed when they aren't."""
    return [
        {"id": call_id(call.id), "function": {"index": index, "name": call.name, "arguments": arguments(call)}}
        for index, call in enumerate(calls)
    ]


def whole_calls(calls: Sequence[CompletedCall], end: Finished) -> Sequence[CompletedCall]:
    """Without the one that the length cut: Ollama's parsers tell whole calls only (ollama tools/tools.go)."""
    is_cut = end.reason == "length" and bool(calls) and _parsed(calls[-1]) is None
    return calls[:-1] if is_cut else calls


def call_id(backend_id: str) -> str:
    """`call_` and eight characters: some clients check the form. The same id always becomes the same."""
    if _CALL_ID.fullmatch(backend_id):
        return backend_id
    return f"call_{hashlib.sha256(backend_id.encode()).hexdigest()[:8]}"


def arguments(call: CompletedCall) -> dict[str, Any]:
    """No text at all is no arguments."""
    value = _parsed(call)
    if not isinstance(value, dict):
        raise BackendFailed(f"the model called {quoted(call.name)} with arguments that are no JSON object")
    return value


def _parsed(call: CompletedCall) -> Any:
    try:
        return orjson.loads(call.arguments) if call.arguments.strip() else {}
    except orjson.JSONDecodeError:
        return None
