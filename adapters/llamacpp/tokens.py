"""POST /tokenize and /detokenize, as llama.cpp's server answers them.

Source: llama.cpp tools/server/server-context.cpp (post_tokenize, post_detokenize).
"""

from __future__ import annotations

from typing import Any

from adapters.base import Call, Reply
from adapters.llamacpp.common import json_reply
from adapters.llamacpp.errors import Refusal, read_keys, wrong_type
from adapters.llamacpp.request import resolve
from backends.base import Backend
from backends.errors import InvalidField


async def tokenize(call: Call) -> Reply:
    """`content` may mix text and ids; without it there are no tokens, and no error."""
    body = read_keys(call)
    if "content" not in body:
        return json_reply({"tokens": []})
    parts = to_parts(body["content"])
    async with call.models.acquire(resolve(call, body)) as backend:
        tokens = await _tokens(backend, parts, body)
        if body.get("with_pieces") is True:
            return json_reply({"tokens": [await _piece(backend, token_id) for token_id in tokens]})
    return json_reply({"tokens": tokens})


async def _tokens(backend: Backend, parts: list[str | int], body: dict[str, Any]) -> list[int]:
    add_special, parse_special = body.get("add_special") is True, body.get("parse_special") is not False
    tokens: list[int] = []
    for number, part in enumerate(parts):
        if isinstance(part, str):
            tokens += await backend.tokenize(part, add_special=add_special and number == 0, parse_special=parse_special)
        else:
            tokens.append(part)
    return tokens


def to_parts(content: object) -> list[str | int]:
    match content:
        case str():
            return [content]
        case list():
            return [item if isinstance(item, str) else _token_id(item) for item in content]
        case _:
            raise wrong_type("string", content, "server_error")


async def _piece(backend: Backend, token_id: int) -> dict[str, Any]:
    """A piece that isn't UTF-8 by itself is told as its bytes."""
    try:
        piece = await backend.token_bytes(token_id)
    except InvalidField as unknown:
        raise _out_of_range(unknown, backend) from None
    try:
        return {"id": token_id, "piece": piece.decode()}
    except UnicodeDecodeError:
        return {"id": token_id, "piece": list(piece)}


def _out_of_range(unknown: InvalidField, backend: Backend) -> Refusal:
    """As the C++ library throws it: an index has no sign."""
    index = unknown.value % 2**64 if isinstance(unknown.value, int) else unknown.value
    size = backend.info.vocab_size
    return Refusal(f"vector::_M_range_check: __n (which is {index}) >= this->size() (which is {size})", "server_error")


async def detokenize(call: Call) -> Reply:
    """`prompt` is vLLM's name for `content`; a client of its can't be told from the request."""
    body = read_keys(call)
    token_ids = _token_ids(body.get("tokens", []))
    async with call.models.acquire(resolve(call, body)) as backend:
        try:
            text = await backend.detokenize(token_ids)
        except InvalidField as unknown:
            raise _out_of_range(unknown, backend) from None
    return json_reply({"content": text} if call.persona == "llamacpp" else {"content": text, "prompt": text})


def _token_ids(value: object) -> list[int]:
    if not isinstance(value, list):
        raise wrong_type("array", value, "server_error")
    return [_token_id(item) for item in value]


def _token_id(value: object) -> int:
    if not isinstance(value, int | float):
        raise wrong_type("number", value, "server_error")
    return int(value)
