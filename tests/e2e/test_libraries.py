"""Published libraries on top of the SDKs, and SDKs of old: what each says of an answer, whole and as a stream."""

from __future__ import annotations

from collections.abc import Sequence

from tests.e2e.gateway_process import Gateway
from tests.e2e.sdk import understood


def assert_same(answers: Sequence[Sequence[str]]) -> None:
    for whole, streamed in answers:
        assert whole.strip()
        assert streamed == whole


def test_litellm(dragoman: Gateway) -> None:
    got = understood("litellm", "litellm_sdk.py", dragoman.urls["openai"], dragoman.urls["ollama"])
    assert len(got["chats"]) == 5
    assert_same(list(got["chats"].values()))
    assert got["text"].strip()


def test_langchain(dragoman: Gateway) -> None:
    got = understood("langchain", "langchain_sdk.py", dragoman.urls["openai"], dragoman.urls["ollama"])
    assert got.pop("tool") == "look"
    assert_same(list(got.values()))


def test_langchain_of_2023(dragoman: Gateway) -> None:
    got = understood("langchain-0.0", "langchain_old.py", dragoman.urls["ollama"])
    assert_same(list(got.values()))


def test_llama_index(dragoman: Gateway) -> None:
    got = understood("llama-index", "llama_index_sdk.py", dragoman.urls["openai"], dragoman.urls["ollama"])
    assert len(got) == 4
    assert_same(list(got.values()))


def test_ollama_of_2024(dragoman: Gateway) -> None:
    got = understood("ollama-0.1", "ollama_01.py", dragoman.urls["ollama"])
    assert [name.removesuffix(":latest") for name in got["models"]] == ["demo"]
    assert got["family"] == "llama"
    assert got["embedding"] > 0
    assert_same([got["chat"], got["text"]])


def test_anthropic_of_2023(dragoman: Gateway) -> None:
    got = understood("anthropic-0.3", "anthropic_03.py", dragoman.urls["openai"])
    assert_same([(got["text"], got["streamed"])])
    assert (got["model"], got["reason"]) == ("claude-2", got["streamed_reasons"][-1])
    assert set(got["streamed_reasons"][:-1]) == {None}
    assert (got["refused"]["status"], got["refused"]["body"]["error"]["type"]) == (400, "invalid_request_error")


def test_the_ai_sdk(dragoman: Gateway) -> None:
    got = understood("node-ai", "ai_sdk.cjs", dragoman.urls["openai"] + "/v1")
    assert_same([(got["text"], got["streamed"])])
    assert got["reason"] in {"stop", "length"}
    assert got["tokens"] > 0
