"""Drives the `openai` package from 1.0 on; prints as JSON what it understood. Arguments: base URL."""

from __future__ import annotations

import json
import sys
from typing import Any

import openai

client = openai.OpenAI(base_url=sys.argv[1], api_key="sk-none", max_retries=0)
MESSAGES: Any = [{"role": "user", "content": "What are you?"}]
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
SCHEMA: Any = {
    "type": "object",
    "properties": {"answer": {"type": "string", "enum": ["yes", "no"]}},
    "required": ["answer"],
    "additionalProperties": False,
}
ANSWER: Any = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True}}


def chat(**more: Any) -> Any:
    return client.chat.completions.create(model="demo", messages=MESSAGES, temperature=0, **more)


def streamed_chat() -> dict[str, Any]:
    chunks = list(chat(max_tokens=24, stream=True, stream_options={"include_usage": True}))
    deltas = [chunk.choices[0] for chunk in chunks if chunk.choices]
    return {
        "text": "".join(delta.delta.content or "" for delta in deltas),
        "finish_reason": deltas[-1].finish_reason,
        "total_tokens": chunks[-1].usage.total_tokens,
        "ids": len({chunk.id for chunk in chunks}),
    }


def called_tool(stream: bool) -> dict[str, Any]:
    asked = {"tools": [TOOL], "tool_choice": "required", "max_tokens": 64}
    if not stream:
        choice = chat(**asked).choices[0]
        call = choice.message.tool_calls[0]
        return {"name": call.function.name, "arguments": call.function.arguments, "reason": choice.finish_reason}
    choices = [chunk.choices[0] for chunk in chat(stream=True, **asked) if chunk.choices]
    pieces = [call.function for choice in choices for call in choice.delta.tool_calls or []]
    return {
        "name": "".join(piece.name or "" for piece in pieces),
        "arguments": "".join(piece.arguments or "" for piece in pieces),
        "reason": choices[-1].finish_reason,
    }


def refused() -> dict[str, Any]:
    try:
        client.completions.create(model="demo", prompt="word " * 100_000, max_tokens=1)
    except openai.BadRequestError as error:
        return {"status": error.status_code, "code": error.code, "message": error.message}
    return {}


def main() -> dict[str, Any]:
    whole = chat(max_tokens=24)
    texts = client.completions.create(model="demo", prompt=["import ", "class "], max_tokens=8, temperature=0)
    pieces = client.completions.create(model="demo", prompt="import ", max_tokens=8, temperature=0, stream=True)
    answer = chat(
        max_tokens=64, response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}
    )
    scored = chat(max_tokens=2, logprobs=True, top_logprobs=2)
    return {
        "models": [model.id for model in client.models.list()],
        "model": client.models.retrieve("demo").id,
        "chat": {"text": whole.choices[0].message.content, "total_tokens": whole.usage.total_tokens},
        "streamed": streamed_chat(),
        "texts": [choice.text for choice in texts.choices],
        "streamed_text": "".join(piece.choices[0].text for piece in pieces),
        "structured": json.loads(answer.choices[0].message.content),
        "tool": called_tool(stream=False),
        "streamed_tool": called_tool(stream=True),
        "top_logprobs": [len(token.top_logprobs) for token in scored.choices[0].logprobs.content],
        "refused": refused(),
    }


print(json.dumps(main()))
