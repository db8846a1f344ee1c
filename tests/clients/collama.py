"""coLLaMA, whose unanswered request began it all; OpenCopilot, its successor, sends the same.

The body is chunked and has Cody's `messages` beside the `prompt`. Of a stream it reads an event once the next has come,
from one `data: ` to the last `}` before the following one.
"""

from __future__ import annotations

import json

from tests.clients.client import Answer, Client, post
from tests.clients.reading import native

PROMPT = "def add(a, b):\n    return"
BODY = {
    "messages": [{"speaker": "human", "text": PROMPT}, {"speaker": "assistant"}],
    "maxTokensToSample": 24,
    "prompt": PROMPT,
    "n_predict": 24,
    "top_k": 40,
    "top_p": 0.9,
    "topK": -1,
    "topP": -1,
}


def stream(answer: Answer) -> object:
    text, shown, is_over = answer.text, "", False
    marks = [i for i in range(len(text)) if text.startswith("data: ", i)]
    for start, end in zip(marks, [*marks[1:], len(text)], strict=True):
        event = json.loads(text[start + len("data: ") : text.rindex("}", start, end) + 1])
        shown += event["content"]
        is_over = event["stop"]
    assert is_over
    return shown


CLIENT = Client(
    "coLLaMA",
    "iohub/collama lib/shared/src/sourcegraph-api/completions/{nodeClient,parse}.ts",
    ("llamacpp", "openai", "ollama"),
    [
        post("complete", "/completion", BODY | {"stream": False}, native, is_chunked=True),
        post("complete", "/v1/completion", BODY | {"stream": False}, native, is_chunked=True),
        post("complete", "/vi/completion", BODY | {"stream": False}, native, is_chunked=True),
        post("stream", "/completion", BODY | {"stream": True}, stream, is_chunked=True),
        post("stream", "/v1/completion", BODY | {"stream": True}, stream, is_chunked=True),
    ],
)
