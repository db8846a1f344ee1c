"""Clients of KoboldCpp: Wingman's provider, SillyTavern, and MemGPT's."""

from __future__ import annotations

import json
from typing import Any

from tests.clients.client import Answer, Client, get, post
from tests.clients.reading import sse, version_at_least

BODY: Any = {"prompt": "### Instruction:\nHi\n\n### Response:\n", "max_length": 24, "temperature": 0.3,
             "stop_sequence": ["###"]}  # fmt: skip
TAVERN: Any = BODY | {
    "gui_settings": False,
    "sampler_order": [6, 0, 1, 3, 4, 2, 5],
    "max_context_length": 2048,
    "singleline": False,
    "rep_pen": 1.1,
    "rep_pen_range": 600,
    "rep_pen_slope": 0,
    "tfs": 1,
    "top_a": 0,
    "top_k": 40,
    "top_p": 0.9,
    "typical": 1,
    "use_default_badwordsids": True,
    "trim_stop": True,
    "grammar": None,
    "can_abort": True,
}


def tokens(answer: Answer) -> object:
    return "".join(json.loads(event)["token"] for event in sse(answer))


def result(answer: Answer) -> object:
    (only,) = answer.json["results"]
    return only["text"]


CLIENTS = (
    Client(
        "Wingman: KoboldCpp",
        "nvms/wingman src/providers/{koboldcpp,sdks/koboldcpp}.ts",
        ("kobold", "openai"),
        [
            post(
                "stream", "/api/extra/generate/stream", BODY, tokens, accept="application/json", authorization="Bearer "
            )
        ],
    ),
    Client(
        "SillyTavern: KoboldCpp",
        "SillyTavern/SillyTavern src/endpoints/backends/kobold.js",
        ("kobold", "openai"),
        [
            get("/api/v1/info/version", lambda answer: answer.json["result"].split(".")),
            get("/api/extra/version", version_at_least(1, 37)),
            get("/api/v1/model", lambda answer: answer.json["result"]),
            get("/api/v1/config/max_context_length", lambda answer: answer.json["value"] + 0),
            post("probe", "/api/extra/tokencount", {"prompt": "Hi"}, lambda answer: answer.json["ids"]),
            post("probe", "/api/extra/abort", {}, lambda answer: answer.json["success"] == "true"),
            post("complete", "/api/v1/generate", TAVERN, result, content_type="application/json"),
            post("stream", "/api/extra/generate/stream", TAVERN, tokens, content_type="application/json"),
        ],
    ),
    Client(
        "MemGPT: KoboldCpp",
        "letta-ai/letta letta/local_llm/koboldcpp/api.py",
        ("kobold", "openai"),
        [
            post(
                "complete",
                "/api/v1/generate",
                BODY | {"max_context_length": 8192, "stop_sequence": ["\nUSER:"]},
                result,
            )
        ],
    ),
)
