"""Drives the `anthropic` package; prints as JSON what it understood. Arguments: base URL."""

from __future__ import annotations

import json
import sys
from typing import Any

import anthropic

client = anthropic.Anthropic(base_url=sys.argv[1], api_key="none", max_retries=0)
MESSAGES: Any = [{"role": "user", "content": "What are you?"}]
TOOL: Any = {
    "name": "get_weather",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}},
        "required": ["city"],
        "additionalProperties": False,
    },
}
ASKED: Any = {"model": "demo", "messages": MESSAGES, "max_tokens": 24, "extra_body": {"temperature": 0}}


def streamed(**more: Any) -> dict[str, Any]:
    with client.messages.stream(**(ASKED | more)) as stream:
        events = [event.type for event in stream]
        message = stream.get_final_message()
    blocks = [block.model_dump(include={"type", "text", "name", "input"}) for block in message.content]
    return {"events": events, "blocks": blocks, "reason": message.stop_reason, "tokens": message.usage.output_tokens}


def refused() -> dict[str, Any]:
    try:
        client.messages.create(**(ASKED | {"messages": [{"role": "user", "content": "word " * 100_000}]}))
    except anthropic.BadRequestError as error:
        return {"status": error.status_code, "body": error.body}
    return {}


def main() -> dict[str, Any]:
    whole = client.messages.create(**ASKED)
    forced: Any = {"tools": [TOOL], "tool_choice": {"type": "any"}, "max_tokens": 64}
    call = client.messages.create(**(ASKED | forced))
    answer: Any = [
        *MESSAGES,
        {"role": "assistant", "content": [block.model_dump() for block in call.content]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": block.id, "content": "sunny"}
            for block in call.content if block.type == "tool_use"
        ]},
    ]  # fmt: skip
    return {
        "text": whole.content[0].text,
        "reason": whole.stop_reason,
        "usage": [whole.usage.input_tokens, whole.usage.output_tokens],
        "streamed": streamed(),
        "call": [block.input for block in call.content if block.type == "tool_use"],
        "call_reason": call.stop_reason,
        "streamed_call": streamed(**forced),
        "after_result": client.messages.create(**(ASKED | {"messages": answer, "tools": [TOOL]})).role,
        "system": client.messages.create(**(ASKED | {"system": [{"type": "text", "text": "Be brief."}]})).role,
        "counted": client.messages.count_tokens(model="demo", messages=MESSAGES).input_tokens,
        "refused": refused(),
    }


print(json.dumps(main()))
