"""Drives what the `openai` package has beyond plain chats; prints as JSON what it understood. Arguments: base URL."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any, Literal

import openai
from pydantic import BaseModel

client = openai.OpenAI(base_url=sys.argv[1], api_key="sk-none", max_retries=0)
MESSAGES: Any = [{"role": "user", "content": "What are you?"}]
PARAMETERS: Any = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}},
    "required": ["city"],
    "additionalProperties": False,
}
FUNCTION: Any = {"name": "get_weather", "parameters": PARAMETERS, "strict": True}


class Answer(BaseModel):
    answer: Literal["yes", "no"]


def responses() -> dict[str, Any]:
    asked: Any = {"model": "demo", "input": "What are you?", "max_output_tokens": 400, "temperature": 0}
    first = client.responses.create(**asked)
    with client.responses.stream(**asked) as stream:
        events = [event.type for event in stream]
        streamed = stream.get_final_response()
    second = client.responses.create(**asked, previous_response_id=first.id)
    kept = client.responses.retrieve(first.id)
    return {
        "text": first.output_text,
        "status": first.status,
        "events": events,
        "streamed": streamed.output_text,
        "grew": second.usage.input_tokens > first.usage.input_tokens,
        "kept": kept.output_text,
        "items": len(client.responses.input_items.list(first.id).data),
    }


def response_tools() -> dict[str, Any]:
    tool: Any = {"type": "function", **FUNCTION}
    asked: Any = {"model": "demo", "input": "Weather?", "tools": [tool], "temperature": 0, "max_output_tokens": 64}
    (call,) = client.responses.create(**asked, tool_choice="required").output
    with client.responses.stream(**asked, tool_choice="required") as stream:
        done = [event for event in stream if event.type == "response.function_call_arguments.done"]
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    after = client.responses.create(model="demo", input=[call.model_dump(), result], max_output_tokens=16)
    return {
        "name": call.name,
        "arguments": json.loads(call.arguments),
        "streamed": json.loads(done[0].arguments),
        "after": after.status,
    }


def parsed() -> dict[str, Any]:
    asked: Any = {"model": "demo", "messages": MESSAGES, "temperature": 0, "max_tokens": 64}
    whole = client.chat.completions.parse(**asked, response_format=Answer)
    tool: Any = {"type": "function", "function": FUNCTION}
    with client.chat.completions.stream(**asked, tools=[tool], tool_choice="required") as stream:
        events = [event.type for event in stream]
        message = stream.get_final_completion().choices[0].message
    response = client.responses.parse(model="demo", input="Yes or no?", text_format=Answer, max_output_tokens=64)
    return {
        "answers": [whole.choices[0].message.parsed.answer, response.output_parsed.answer],
        "arguments": message.tool_calls[0].function.parsed_arguments,
        "events": sorted(set(events)),
    }


def legacy_function() -> dict[str, Any]:
    asked: Any = {"functions": [{"name": "get_weather", "parameters": PARAMETERS}], "max_tokens": 64, "temperature": 0}
    named: Any = {"function_call": {"name": "get_weather"}}
    choice = client.chat.completions.create(model="demo", messages=MESSAGES, **asked, **named).choices[0]
    call = choice.message.function_call
    history: Any = [
        *MESSAGES,
        {"role": "assistant", "content": None, "function_call": call.model_dump()},
        {"role": "function", "name": "get_weather", "content": "sunny"},
    ]
    after = client.chat.completions.create(model="demo", messages=history, max_tokens=8)
    return {"name": call.name, "arguments": json.loads(call.arguments), "after": after.choices[0].message.role}


def embeddings() -> dict[str, Any]:
    """By default the SDK asks for base64, and decodes it."""
    decoded = client.embeddings.create(model="demo", input=["a", "b"])
    floats = client.embeddings.create(model="demo", input=["a", "b"], encoding_format="float")
    pairs = zip(decoded.data[1].embedding, floats.data[1].embedding, strict=True)
    return {"count": len(decoded.data), "distance": max(abs(one - other) for one, other in pairs)}


def refusals() -> dict[str, Any]:
    """What is wrong → the class of exception that the SDK raises, and what it says."""
    wrong: dict[str, Any] = {
        "temperature": lambda: client.chat.completions.create(model="demo", messages=MESSAGES, temperature=-1),
        "messages": lambda: client.chat.completions.create(model="demo", messages=[]),
        "previous": lambda: client.responses.create(model="demo", input="x", previous_response_id="resp_gone"),
        "path": lambda: client.post("/nothing", body={}, cast_to=object),
        "model": lambda: client.models.retrieve("nobody"),
    }
    found = {}
    for name, ask in wrong.items():
        try:
            ask()
        except openai.APIStatusError as error:
            found[name] = [type(error).__name__, error.param, error.code]
    return found


async def asynchronous() -> list[str]:
    """Several at once, over one connection pool."""
    async with openai.AsyncOpenAI(base_url=sys.argv[1], api_key="sk-none", max_retries=0) as several:
        asked = [several.chat.completions.create(model="demo", messages=MESSAGES, max_tokens=4) for _ in range(8)]
        return [answer.choices[0].finish_reason for answer in await asyncio.gather(*asked)]


print(
    json.dumps(
        {
            "responses": responses(),
            "response_tools": response_tools(),
            "parsed": parsed(),
            "legacy": legacy_function(),
            "embeddings": embeddings(),
            "refusals": refusals(),
            "asynchronous": asyncio.run(asynchronous()),
        }
    )
)
