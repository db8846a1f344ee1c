"""vscode-fauxpilot, and Copilot's own clients pointed at an engine of one's own."""

from __future__ import annotations

import json
from typing import Any

from tests.clients.client import Answer, Client, post
from tests.clients.reading import openai_text

BODY: Any = {"model": "fastertransformer", "prompt": "def f(x):", "max_tokens": 24, "temperature": 0.1, "stop": []}


def ghost_text(answer: Answer) -> object:
    """Every line that isn't empty loses five characters and is parsed, so a comment or a named event breaks it."""
    lines = [line[5:].strip() for line in answer.text.split("\n") if line]
    assert lines[-1] == "[DONE]"
    choices = [choice for line in lines[:-1] for choice in json.loads(line)["choices"]]
    assert {choice["index"] for choice in choices} == {0}
    return "".join(choice["text"] for choice in choices)


CLIENTS = (
    Client(
        "vscode-fauxpilot",
        "fauxpilot/vscode-fauxpilot src/{AccessBackend,FauxpilotClient}.ts",
        ("openai", "llamacpp"),
        [
            post("complete", "/v1/engines/codegen/completions", BODY, openai_text, authorization="Bearer dummy"),
            post("complete", "/completions", BODY, openai_text),
        ],
    ),
    Client(
        "Copilot, an engine of one's own",
        "fauxpilot/fauxpilot copilot_proxy/app.py; microsoft/vscode-copilot-chat completions-core",
        ("openai", "llamacpp"),
        [
            post("stream", "/v1/engines/copilot-codex/completions",
                 {"prompt": "def f(x):", "suffix": "\n", "max_tokens": 24, "temperature": 0, "top_p": 1, "n": 1,
                  "stop": ["\n\n"], "nwo": "a/b", "stream": True, "extra": {"language": "python", "next_indent": 4}},
                 ghost_text, authorization="Bearer tid=x", openai_intent="copilot-ghost"),
        ],
    ),
)  # fmt: skip
