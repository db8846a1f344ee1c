"""How whole families of clients read: each of these fails where those would."""

from __future__ import annotations

import json
from typing import Any

from tests.clients.client import Answer

USER: Any = [{"role": "user", "content": "Hi"}]
SYSTEM_AND_USER: Any = [{"role": "system", "content": "You are a coding assistant."}, *USER]


def openai_chat(answer: Answer) -> object:
    return answer.json["choices"][0]["message"]["content"]


def openai_text(answer: Answer) -> object:
    return answer.json["choices"][0]["text"]


def native(answer: Answer) -> object:
    """llama.cpp's whole answer."""
    return answer.json["content"]


def sse(answer: Answer) -> list[str]:
    """What stands behind `data: ` in each event. Names of events and comments are skipped, as EventSource does; it
    insists on the content type."""
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert "\r" not in answer.text
    lines = answer.text.split("\n")
    return [line.removeprefix("data:").removeprefix(" ") for line in lines if line.startswith("data:")]


def openai_events(answer: Answer) -> list[Any]:
    """A client that waits for `[DONE]` never returns without it."""
    *events, last = sse(answer)
    assert last == "[DONE]"
    return [json.loads(event) for event in events]


def openai_chat_stream(answer: Answer) -> object:
    """`choices[0].delta` of every event, unguarded: an event with usage alone would break it."""
    return "".join(event["choices"][0]["delta"].get("content") or "" for event in openai_events(answer))


def openai_chat_stream_with_usage(answer: Answer) -> object:
    """It asked for usage: the last event has nothing else."""
    *events, last = openai_events(answer)
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] > 0
    return "".join(event["choices"][0]["delta"].get("content") or "" for event in events)


def openai_text_stream(answer: Answer) -> object:
    return "".join(event["choices"][0]["text"] for event in openai_events(answer))


def native_stream(answer: Answer) -> object:
    """llama.cpp's: `content` and `stop` in every event, and nothing that isn't one."""
    events = [json.loads(event) for event in sse(answer)]
    assert [event["stop"] for event in events] == [False] * (len(events) - 1) + [True]
    return "".join(event["content"] for event in events)


def ndjson(answer: Answer) -> list[Any]:
    """One whole line for each read, each ended: clients of 2023 parse reads, not lines."""
    assert all(chunk.count(b"\n") == 1 and chunk.endswith(b"\n") for chunk in answer.chunks)
    lines = [json.loads(chunk) for chunk in answer.chunks]
    assert not any("error" in line for line in lines)
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    return lines


def ollama_generate_stream(answer: Answer) -> object:
    return "".join(line["response"] for line in ndjson(answer))


def ollama_chat_stream(answer: Answer) -> object:
    lines = ndjson(answer)
    assert {line["message"]["role"] for line in lines} == {"assistant"}
    return "".join(line["message"]["content"] for line in lines)


def ollama_generate(answer: Answer) -> object:
    return answer.json["response"]


def ollama_chat(answer: Answer) -> object:
    return answer.json["message"]["content"]


def ok(answer: Answer) -> object:
    """The status says it all."""
    return answer.status


def openai_models(answer: Answer) -> object:
    return [model["id"] for model in answer.json["data"]]


def ollama_names(answer: Answer) -> object:
    return [model["name"] for model in answer.json["models"]]


def version_at_least(*least: int) -> Any:
    """Dotted numbers only, as Open WebUI and Copilot split them."""

    def read(answer: Answer) -> object:
        found = tuple(int(part) for part in answer.json["version"].split("."))
        assert found >= least
        return found

    return read


def capabilities(*wanted: str) -> Any:
    """Of /api/show; a model without them isn't offered."""

    def read(answer: Answer) -> object:
        shown = answer.json
        assert set(wanted) <= set(shown["capabilities"])
        assert shown["model_info"][f"{shown['model_info']['general.architecture']}.context_length"] > 0
        return shown

    return read
