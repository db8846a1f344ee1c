"""Clients of the servers that few speak, each as published, against the running gateway."""

from __future__ import annotations

from tests.e2e.gateway_process import Gateway
from tests.e2e.sdk import understood


def test_text_generation(dragoman: Gateway) -> None:
    got = understood("text-generation", "text_generation_sdk.py", dragoman.urls["openai"])
    assert got["text"] == got["tokens"] == got["streamed"]
    assert (got["reason"], got["num_top"]) == ("length", [2] * 12)
    assert got["prefill"] == [True] + [False] * (len(got["prefill"]) - 1)
    assert got["generated"] == [None] * 11 + [got["text"]]
    assert got["num_others"] == 1
    assert got["chat"].strip()
    assert got["refused"] in {"ValidationError", "ValueError"}
    assert got["too_long"].startswith("Input validation error: `inputs` must have less than ")


def test_huggingface_hub(dragoman: Gateway) -> None:
    got = understood("huggingface-hub", "huggingface_hub_sdk.py", dragoman.urls["openai"])
    assert got["text"] == got["streamed"] == got["last"][0]
    assert got["full"] == "def add(a, b):" + got["text"]
    assert got["details"] == got["last"][1:] == ["length", 12]
    assert got["chat"].strip()
    assert got["chat_streamed"] == got["chat"]


def test_koboldapi(dragoman: Gateway) -> None:
    got = understood("koboldapi", "koboldapi_sdk.py", dragoman.urls["openai"])
    assert (got["model"], got["version"]) == ("koboldcpp/demo", "1.115.1")
    assert got["window"] > 0
    assert got["text"] == got["checked"] == got["streamed"] == "".join(got["logprobs"])
    assert got["counted"] > 0
    assert got["round_trip"].endswith(got["text"])
    assert got["generated"] == 12
    polled = got["polled"]
    assert polled["seen"]
    assert polled["whole"].startswith(polled["seen"])
    assert polled["after"] == polled["whole"]
    assert polled["aborted"] == "true"


def test_mistralai(dragoman: Gateway) -> None:
    got = understood("mistralai", "mistralai_sdk.py", dragoman.urls["openai"])
    assert got["text"] == got["streamed"]
    assert got["last"] == [got["reason"], got["usage"]]
    assert got["reason"] in {"stop", "length"}
    assert got["too_long"] == 400


def test_a_script_from_tenstorrents_lesson(dragoman: Gateway) -> None:
    """What the lesson's own Python and curl examples send and read, to the port that it names, 8080's persona."""
    answered = dragoman.ask(
        "llamacpp",
        "POST",
        "/chat",
        {"prompt": "What are you?", "max_tokens": 16, "temperature": 0.0},
        {"Content-Type": "application/json"},
    )
    assert answered.status == 200
    assert answered.json["prompt"] == "What are you?"
    assert answered.json["response"].strip() == answered.json["response"] != ""
    assert 0 < answered.json["tokens_generated"] <= 16
    assert answered.json["time_seconds"] >= 0
    assert answered.json["tokens_per_second"] > 0
    assert dragoman.ask("llamacpp", "POST", "/chat", {}).json == {"error": "Missing 'prompt' in request body"}
    assert dragoman.ask("llamacpp", "GET", "/health").status == 200


def test_a_tabby_agent(dragoman: Gateway) -> None:
    """What its extension asks on its way: health by GET, then by POST, a completion, and what became of it."""
    agent = {"User-Agent": "Node.js/v20.1.0 tabby-agent/1.8.0 vscode/1.9", "Content-Type": "application/json"}
    for method in ("GET", "POST"):
        assert dragoman.ask("openai", method, "/v1/health", None, agent).json["model"] == "demo"
    segments = {"prefix": "def add(a, b):\n    return ", "suffix": "\n"}
    body = {"language": "python", "segments": segments, "temperature": 0}
    completed = dragoman.ask("openai", "POST", "/v1/completions", body, agent).json
    assert [set(completed), completed["choices"][0]["index"]] == [{"id", "choices", "mode"}, 0]
    event = {"type": "view", "completion_id": completed["id"], "choice_index": 0}
    assert dragoman.ask("openai", "POST", "/v1/events", event, agent).status == 200
