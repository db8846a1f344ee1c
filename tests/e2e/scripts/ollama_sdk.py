"""Drives the `ollama` package; prints as JSON what it understood. Arguments: host."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import ollama

client = ollama.Client(host=sys.argv[1])
OPTIONS = {"temperature": 0, "num_predict": 24}
MESSAGES = [{"role": "user", "content": "What are you?"}]
SCHEMA = {"type": "object", "properties": {"answer": {"type": "string", "enum": ["yes", "no"]}}, "required": ["answer"]}


def read_file(path: str) -> str:
    """Read a file."""
    return path


def refusals() -> dict[str, Any]:
    wrong: dict[str, Any] = {
        "show": lambda: client.show("nobody"),
        "delete": lambda: client.delete("nobody"),
        "think": lambda: client.chat("demo", MESSAGES, think=True),
        "images": lambda: client.generate("demo", "What is it?", images=[b"no picture"]),
        "options": lambda: client.generate("demo", "x", options={"stop": "no list"}),
    }
    found = {}
    for name, ask in wrong.items():
        try:
            ask()
        except ollama.ResponseError as error:
            found[name] = [error.status_code, error.error]
    return found


def called() -> dict[str, Any]:
    """A call, its result, and what is said of it; streamed, the call comes whole."""
    asked: Any = {"model": "demo", "tools": [read_file], "options": {"temperature": 0, "num_predict": 64}}
    question = [{"role": "user", "content": "Read main.py"}]
    message = client.chat(messages=question, **asked).message
    pieces = list(client.chat(messages=question, stream=True, **asked))
    result = {"role": "tool", "tool_name": "read_file", "content": "import os"}
    after = client.chat(messages=[*question, message, result], **asked)
    return {
        "call": [[call.function.name, dict(call.function.arguments)] for call in message.tool_calls],
        "streamed": [dict(call.function.arguments) for piece in pieces for call in piece.message.tool_calls or []],
        "after": after.message.role,
    }


def managed() -> dict[str, Any]:
    pulled = [progress.status for progress in client.pull("demo", stream=True)]
    client.copy("demo", "copied")
    client.create("made", from_="demo")
    names = [model.model.removesuffix(":latest") for model in client.list().models]
    deleted = [client.delete("copied").status, client.delete("made").status]
    lifetime = [client.generate("demo", keep_alive=0).done_reason, client.generate("demo").done_reason]
    return {"pulled": pulled, "names": names, "deleted": deleted, "lifetime": lifetime}


def embedded() -> list[int]:
    made = client.embed("demo", ["a", "b"])
    return [len(made.embeddings), len(made.embeddings[0]) - len(client.embeddings("demo", "a").embedding)]


async def asynchronous() -> str:
    pieces = await ollama.AsyncClient(host=sys.argv[1]).chat("demo", MESSAGES, options=OPTIONS, stream=True)
    return "".join([piece.message.content async for piece in pieces])


def main() -> dict[str, Any]:
    shown = client.show("demo")
    whole = client.chat("demo", MESSAGES, options=OPTIONS)
    pieces = list(client.chat("demo", MESSAGES, options=OPTIONS, stream=True))
    text = client.generate("demo", "What can you do?", options=OPTIONS)
    text_pieces = client.generate("demo", "What can you do?", options=OPTIONS, stream=True)
    filled = client.generate("demo", "def add(a, b):\n    return ", suffix="\n", options=OPTIONS)
    structured = client.chat("demo", MESSAGES, format=SCHEMA, options=OPTIONS | {"num_predict": 64})
    return {
        "models": [model.model for model in client.list().models],
        "running": [model.model for model in client.ps().models],
        "capabilities": shown.capabilities,
        "family": shown.details.family,
        "chat": whole.message.content,
        "done_reason": whole.done_reason,
        "eval_count": whole.eval_count,
        "durations": [whole.total_duration, whole.prompt_eval_duration, whole.eval_duration],
        "streamed": "".join(piece.message.content for piece in pieces),
        "generated": text.response,
        "streamed_generated": "".join(piece.response for piece in text_pieces),
        "context": len(text.context),
        "filled": filled.response,
        "structured": json.loads(structured.message.content),
        "called": called(),
        "embedded": embedded(),
        "asynchronous": asyncio.run(asynchronous()),
        "refusals": refusals(),
        "managed": managed(),
    }


print(json.dumps(main()))
