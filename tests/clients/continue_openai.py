"""Continue's providers for OpenAI and what speaks like it: LM Studio, vLLM; and TGI's own."""

from __future__ import annotations

import json

from tests.clients.client import Answer, Client, get, post
from tests.clients.reading import USER, openai_chat_stream, openai_models, openai_text_stream, sse

CHAT = {"messages": USER, "model": "demo", "max_tokens": 24, "stream": True}
FIM = {"model": "demo", "prompt": "def f(x):\n    ", "suffix": "\n", "max_tokens": 24, "stream": True, "stop": ["\n\n"]}


def tokens(answer: Answer) -> object:
    """`token.text` of every event, unguarded; the stop word that ends the answer is cut off later."""
    return "".join(json.loads(event)["token"]["text"] for event in sse(answer)).removesuffix("</s>")


def longest_prompt(answer: Answer) -> object:
    assert answer.json["model_id"]
    return answer.json["max_input_length"] + 0


def _speaks_openai(name: str, source: str, base: str, listener: str) -> Client:
    headers = {"api_key": "EMPTY", "authorization": "Bearer EMPTY", "content_type": "application/json"}
    return Client(
        name,
        source,
        (listener, "llamacpp"),
        [
            get(f"{base}/models", openai_models, authorization="Bearer EMPTY"),
            post("chat", f"{base}/chat/completions", CHAT, openai_chat_stream, **headers),
            post("stream", f"{base}/completions", FIM, openai_text_stream, **headers),
        ],
    )


CLIENTS = (
    _speaks_openai("Continue: OpenAI", "continuedev/continue core/llm/llms/OpenAI.ts", "/v1", "openai"),
    _speaks_openai("Continue: LM Studio", "continuedev/continue core/llm/llms/LMStudio.ts", "/v1", "openai"),
    _speaks_openai("Continue: vLLM", "continuedev/continue core/llm/llms/Vllm.ts", "/v1/", "openai"),
    Client(
        "Continue: TGI",
        "continuedev/continue core/llm/llms/HuggingFaceTGI.ts",
        ("tgi", "openai"),
        [
            get("/info", longest_prompt),
            post("stream", "/generate_stream", {"inputs": "Hi", "parameters": {"best_of": 1, "max_new_tokens": 24,
                                                                              "stop": ["</s>"]}}, tokens,
                 content_type="application/json"),
        ],
    ),
)  # fmt: skip
