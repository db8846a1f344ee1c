"""Answers that a client may come back to: GET and DELETE /v1/stream, POST /v1/streams/lookup.

The server keeps what it streamed to a client that sent `X-Conversation-Id`; we keep nothing, so no stream is ever
found. Source: llama.cpp tools/server/server-stream.cpp.
"""

from __future__ import annotations

from adapters.base import Call, Reply
from adapters.framing import JSON_UTF8, to_json
from adapters.llamacpp.common import json_reply
from adapters.llamacpp.errors import Refusal, early_reply
from adapters.llamacpp.syntax import syntax_error
from backends.errors import MalformedBody


async def stream(call: Call) -> Reply:
    _check_id(call)
    return early_reply("File Not Found", "not_found_error", 404)


async def stream_delete(call: Call) -> Reply:
    """What is gone already is gone."""
    _check_id(call)
    return Reply(status=204)


async def streams_lookup(call: Call) -> Reply:
    try:
        call.json()
    except MalformedBody as error:
        told = {"message": f"invalid body: {syntax_error(error.body)}", "type": "invalid_request_error"}
        return Reply(to_json({"error": told}), 400, JSON_UTF8)
    return json_reply([])


def _check_id(call: Call) -> None:
    if not call.query.get("conv_id"):
        raise Refusal("Missing conversation id in path")
