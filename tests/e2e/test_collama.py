"""coLLaMA, whose unanswered request began it all: its two requests, and its own way to read the answers.

Its client posts a chunked body with Cody's `messages` beside the `prompt`. Of a stream it reads an event once the next
has come: from one `data: ` to the last `}` before the following one.
"""

from __future__ import annotations

import json

import pytest

from tests.e2e.gateway_process import Gateway

PATHS = ("/completion", "/v1/completion", "/vi/completion")
PROMPT = "def add(a, b):\n    return"
CODY = {"messages": [{"speaker": "human", "text": PROMPT}, {"speaker": "assistant"}], "maxTokensToSample": 24}
ASKED = {"prompt": PROMPT, "n_predict": 24, "top_k": 40, "top_p": 0.9, "temperature": 0, "topK": -1, "topP": -1} | CODY


def read_as_collama(stream: str) -> tuple[str, bool]:
    """The text, and whether it saw the end: an event counts when the next one, or the end of the stream, is there."""
    text, stopped = "", False
    marks = [i for i in range(len(stream)) if stream.startswith("data: ", i)]
    for start, end in zip(marks, [*marks[1:], len(stream)], strict=True):
        event = json.loads(stream[start + len("data: ") : stream.rindex("}", start, end) + 1])
        text += event["content"]
        stopped = event["stop"]
    return text, stopped


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("persona", ["llamacpp", "openai", "ollama"])
def test_autocomplete_gets_its_content(dragoman: Gateway, path: str, persona: str) -> None:
    answer = dragoman.ask(persona, "POST", path, ASKED | {"stream": False}, chunked=True)
    assert answer.status == 200, answer.text
    assert isinstance(answer.json["content"], str)
    assert answer.json["content"]
    assert answer.json["stop"] is True


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("persona", ["llamacpp", "openai", "ollama"])
def test_chat_streams_natively(dragoman: Gateway, path: str, persona: str) -> None:
    whole = dragoman.ask(persona, "POST", path, ASKED | {"stream": False}).json["content"]
    answer = dragoman.ask(persona, "POST", path, ASKED | {"stream": True}, chunked=True)
    assert answer.headers["Content-Type"] == "text/event-stream"
    assert "[DONE]" not in answer.text
    assert "choices" not in answer.text
    assert read_as_collama(answer.text) == (whole, True)
