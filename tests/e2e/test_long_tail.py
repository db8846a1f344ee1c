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
