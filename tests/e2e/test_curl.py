"""curl, as the documentation of llama.cpp and Ollama shows it: `-d` sends JSON as a form."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from tests.e2e.gateway_process import Gateway, ndjson, sse_data


def curl(url: str, body: object = None, *options: str) -> bytes:
    data = [] if body is None else ["-d", json.dumps(body)]
    command = ["curl", "--silent", "--show-error", "--fail-with-body", "--no-buffer", *options, url, *data]
    return subprocess.run(command, check=True, capture_output=True, timeout=60).stdout


LLAMA_CPP: list[tuple[str, Any, list[str]]] = [
    ("/health", None, ["status"]),
    ("/v1/health", None, ["status"]),
    ("/props", None, ["default_generation_settings", "total_slots", "chat_template"]),
    ("/v1/models", None, ["data", "object"]),
    ("/tokenize", {"content": "Hello"}, ["tokens"]),
    ("/detokenize", {"tokens": [65, 66]}, ["content"]),
    ("/apply-template", {"messages": [{"role": "user", "content": "Hi"}]}, ["prompt"]),
    ("/completion", {"prompt": "import ", "n_predict": 4}, ["content", "stop", "timings", "generation_settings"]),
    ("/completions", {"prompt": "import ", "n_predict": 4}, ["content", "stop"]),
    ("/infill", {"input_prefix": "def add(a, b):\n    return ", "input_suffix": "\n", "n_predict": 8}, ["content"]),
    ("/v1/completions", {"prompt": "import ", "max_tokens": 4}, ["choices", "usage"]),
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}, ["choices", "usage"]),
]
OLLAMA: list[tuple[str, Any, list[str]]] = [
    ("/api/version", None, ["version"]),
    ("/api/tags", None, ["models"]),
    ("/api/ps", None, ["models"]),
    ("/api/show", {"model": "demo"}, ["model_info", "details", "capabilities"]),
    ("/api/generate", {"model": "demo", "prompt": "Hi", "stream": False, "options": {"num_predict": 4}},
     ["response", "done", "context", "eval_count"]),
    ("/api/chat", {"model": "demo", "messages": [{"role": "user", "content": "Hi"}], "stream": False,
                   "options": {"num_predict": 4}}, ["message", "done", "eval_count"]),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body", "keys"), LLAMA_CPP, ids=[path for path, *_ in LLAMA_CPP])
def test_llama_cpp_routes(dragoman: Gateway, path: str, body: object, keys: list[str]) -> None:
    answer = json.loads(curl(dragoman.urls["llamacpp"] + path, body))
    assert set(keys) <= set(answer)


def test_llama_cpp_tells_what_the_model_is(dragoman: Gateway) -> None:
    (model,) = json.loads(curl(dragoman.urls["llamacpp"] + "/v1/models"))["data"]
    meta = model["meta"]
    assert meta["n_ctx"] >= 16_384
    assert 2_000_000 < meta["n_params"] <= 3_000_000
    assert meta["n_params"] < meta["size"] <= 6_000_000
    assert (meta["n_vocab"], meta["n_embd"]) > (1000, 64)


def test_llama_cpp_slots(dragoman: Gateway) -> None:
    slots = json.loads(curl(dragoman.urls["llamacpp"] + "/slots"))
    assert slots[0].keys() >= {"id", "n_ctx", "is_processing"}


def test_llama_cpp_tokens_come_back(dragoman: Gateway) -> None:
    text = "def naïve(x):\n    return '👋'"
    tokens = json.loads(curl(dragoman.urls["llamacpp"] + "/tokenize", {"content": text}))["tokens"]
    assert json.loads(curl(dragoman.urls["llamacpp"] + "/detokenize", {"tokens": tokens}))["content"] == text


def test_llama_cpp_stream_says_what_the_whole_says(dragoman: Gateway) -> None:
    asked = {"prompt": "class Stack:", "n_predict": 24, "temperature": 0}
    whole = json.loads(curl(dragoman.urls["llamacpp"] + "/completion", asked))["content"]
    events = sse_data(curl(dragoman.urls["llamacpp"] + "/completion", asked | {"stream": True}))
    assert "".join(event["content"] for event in events) == whole
    assert [event["stop"] for event in events] == [False] * (len(events) - 1) + [True]


@pytest.mark.parametrize(("path", "body", "keys"), OLLAMA, ids=[path for path, *_ in OLLAMA])
def test_ollama_routes(dragoman: Gateway, path: str, body: object, keys: list[str]) -> None:
    answer = json.loads(curl(dragoman.urls["ollama"] + path, body))
    assert set(keys) <= set(answer)


def test_ollama_tells_what_the_model_is(dragoman: Gateway) -> None:
    (model,) = json.loads(curl(dragoman.urls["ollama"] + "/api/tags"))["models"]
    assert model["name"].removesuffix(":latest") == "demo"
    assert len(bytes.fromhex(model["digest"])) == 32
    assert 2_000_000 < model["size"] <= 6_000_000
    assert model["details"]["parameter_size"] == "2.75M"
    shown = json.loads(curl(dragoman.urls["ollama"] + "/api/show", {"model": "demo"}))
    family = shown["model_info"]["general.architecture"]
    assert shown["model_info"][f"{family}.context_length"] >= 16_384
    assert shown["model_info"]["general.parameter_count"] > 2_000_000


def test_ollama_says_that_it_is_running(dragoman: Gateway) -> None:
    assert curl(dragoman.urls["ollama"] + "/") == b"Ollama is running"
    assert b"200 OK" in curl(dragoman.urls["ollama"] + "/", None, "--head")


def test_ollama_streams_unless_told_otherwise(dragoman: Gateway) -> None:
    asked = {"model": "demo", "prompt": "What can you do?", "options": {"num_predict": 16, "temperature": 0}}
    whole = json.loads(curl(dragoman.urls["ollama"] + "/api/generate", asked | {"stream": False}))
    lines = ndjson(curl(dragoman.urls["ollama"] + "/api/generate", asked))
    assert "".join(line["response"] for line in lines) == whole["response"]
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    assert lines[-1]["eval_count"] == whole["eval_count"]
