"""`python -m tests.conformance.live PERSONA PORT`: a server that runs on this machine, compared with ours, request by
request. Exits 1 when they differ.

Where a recording is one answer, this asks for thousands: each field that the dialect's routes know, with each value
that a client might send by mistake, and every recorded request anew. It is how the recordings are chosen: what came out
different was mended, and recorded.
"""

from __future__ import annotations

import functools
import itertools
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from adapters.llamacpp.fields import Fields
from adapters.llamacpp_python.chat_body import ChatBody
from adapters.llamacpp_python.completions import CompletionBody
from gateway.log import configure
from tests.conformance import recordings
from tests.conformance.case import GOLDEN
from tests.conformance.compare import compare
from tests.conformance.deviations import allowed_extras, deviates, reason_not_compared
from tests.conformance.ground import running
from tests.conformance.wire import BadFraming, Request, exchange

VALUES: Sequence[object] = (
    None, True, False, 0, 1, -1, -2, 1.5, 1e10, 10**20, "", "x", "5", [], ["a"], [1], {}, {"a": 1},
)  # fmt: skip
"""One of each kind, the borders, and what is of another kind than it seems."""
BODIES = ("", "{", "[]", "null", "5", '"x"', '{"a":1,}', "{}", "nan", '{"a": tru}', '{"a": "\\x"}', "[1")
SHORT = {"temperature": 0, "seed": 42}
TEXT: Mapping[str, Any] = {"prompt": "def add(a, b):", "n_predict": 2, "max_tokens": 2} | SHORT
CHAT: Mapping[str, Any] = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 2} | SHORT
ENDLESS = {"n_predict", "max_tokens", "max_completion_tokens", "stream"}
"""Fields of which some values ask for an answer without end, or for one in pieces."""

MATRIX: Mapping[str, Mapping[str, tuple[Mapping[str, Any], Sequence[str]]]] = {
    "llamacpp": {
        "/completion": (TEXT, [field.name for field in fields(Fields) if field.metadata]),
        "/v1/chat/completions": (CHAT, ["messages", "tools", "tool_choice", "response_format", "logprobs", "stop"]),
        "/v1/messages": (CHAT, ["messages", "system", "tools", "tool_choice", "thinking", "stop_sequences"]),
        "/v1/responses": ({"input": "hi", "max_output_tokens": 2} | SHORT, ["input", "instructions", "tools", "text"]),
        "/infill": (TEXT | {"input_prefix": "a", "input_suffix": "b"}, ["input_prefix", "input_suffix", "input_extra"]),
        "/tokenize": ({"content": "a"}, ["content", "add_special", "with_pieces"]),
        "/detokenize": ({}, ["tokens"]),
    },
    "llamacpp-python": {
        "/v1/completions": ({key: TEXT[key] for key in TEXT if key != "n_predict"}, [*CompletionBody.model_fields]),
        "/v1/chat/completions": (CHAT, [*ChatBody.model_fields]),
        "/extras/tokenize": ({"input": "a"}, ["input"]),
        "/extras/detokenize": ({}, ["tokens"]),
    },
}
SOURCE = re.compile(rb'(File \\")[^"]*/(?=app\.py)')
"""Where llama-cpp-python lies, which its complaints tell."""
FOLDERS = {persona: folder for folder, persona in recordings.PERSONAS.items()}


def requests(persona: str) -> Iterator[Request]:
    """Without what would stop llama-cpp-python's server: a grammar that is none ends its process."""
    for case in recordings.load(Path(GOLDEN / FOLDERS[persona])):
        if case.profile == "engine" and not deviates(case.id) and reason_not_compared(case.id) is None:
            yield case.request
    for path, (body, names) in MATRIX[persona].items():
        yield from (_post(path, text) for text in BODIES)
        for name, value in itertools.product([name for name in names if name not in ENDLESS], VALUES):
            if name != "grammar" or not isinstance(value, str):
                yield _post(path, json.dumps({**body, name: value}))


def _post(path: str, body: str) -> Request:
    return Request.build("POST", path, body.encode(), {"Content-Type": "application/json"})


def differences(persona: str, their_port: int, our_port: int, request: Request) -> list[str]:
    ask = functools.partial(exchange, "127.0.0.1", request=request)
    try:
        theirs = ask(port=their_port)
    except (BadFraming, OSError):
        return []  # the server died of it, or broke off: there is nothing to be like
    theirs = replace(theirs, body=SOURCE.sub(rb"\1/models/", theirs.body))
    return compare(theirs, ask(port=our_port), allows=allowed_extras(persona, request.path))


def main(arguments: Sequence[str]) -> int:
    configure("error", "text")
    persona, port = arguments[0], int(arguments[1])
    num_asked = num_different = 0
    with running(["engine"]) as ground:
        for request in requests(persona):
            num_asked += 1
            problems = differences(persona, port, ground.port("engine", persona), request)
            if problems:
                num_different += 1
                print(f"{request.method} {request.path} {request.body[:200].decode('utf-8', 'replace')}")
                print(*(f"  {problem}" for problem in problems), sep="\n")
    print(f"{num_asked} requests, {num_different} answered otherwise")
    return 1 if num_different else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
