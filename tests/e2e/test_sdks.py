"""The SDKs themselves, each of its own generation, against the running gateway."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conformance.deviations import DIALECTS_SERVED
from tests.e2e.gateway_process import Gateway
from tests.e2e.sdk import understood

anthropic = pytest.mark.skipif("anthropic" not in DIALECTS_SERVED, reason="anthropic is not served yet")


def assert_refused_as_too_long(refused: dict[str, Any]) -> None:
    assert refused["status"] == 400
    assert refused["code"] == "context_length_exceeded"


@pytest.mark.parametrize("client", ["openai", "openai-1"])
def test_openai(dragoman: Gateway, client: str) -> None:
    got = understood(client, "openai_sdk.py", dragoman.urls["openai"] + "/v1")
    assert got["models"] == ["demo"]
    assert got["model"] == "demo"
    assert got["chat"]["text"].strip()
    assert got["streamed"] == got["chat"] | {"finish_reason": got["streamed"]["finish_reason"], "ids": 1}
    assert got["streamed"]["finish_reason"] in {"stop", "length"}
    assert got["streamed_text"] == got["texts"][0]
    assert got["structured"]["answer"] in {"yes", "no"}
    assert got["top_logprobs"] == [2, 2]
    for tool in (got["tool"], got["streamed_tool"]):
        assert (tool["name"], tool["reason"]) == ("get_weather", "tool_calls")
        assert json.loads(tool["arguments"])["city"] in {"Paris", "Rome"}
    assert_refused_as_too_long(got["refused"])


@pytest.mark.parametrize("base", ["/v1", ""], ids=["with v1", "without v1"])
def test_openai_of_2023(dragoman: Gateway, base: str) -> None:
    got = understood("openai-0.28", "openai_028.py", dragoman.urls["openai"] + base)
    assert got["models"] == got["engines"] == ["demo"]
    assert got["chat"].strip()
    assert got["streamed"] == got["chat"]
    assert got["streamed_text"] == got["text"]
    assert_refused_as_too_long(got["refused"])


def test_ollama(dragoman: Gateway) -> None:
    got = understood("ollama", "ollama_sdk.py", dragoman.urls["ollama"])
    assert [name.removesuffix(":latest") for name in got["models"]] == ["demo"]
    assert [name.removesuffix(":latest") for name in got["running"]] == ["demo"]
    assert {"completion", "insert", "tools"} <= set(got["capabilities"])
    assert got["family"] == "llama"
    assert got["chat"].strip()
    assert got["streamed"] == got["chat"]
    assert got["streamed_generated"] == got["generated"]
    assert got["done_reason"] in {"stop", "length"}
    assert 0 < got["eval_count"] <= 24
    assert all(nanoseconds > 1000 for nanoseconds in got["durations"])
    assert got["context"] > 0
    assert isinstance(got["filled"], str)
    assert got["structured"]["answer"] in {"yes", "no"}
    assert got["unknown"] == {"status": 404, "error": "model 'nobody' not found"}


def test_openai_on_node(dragoman: Gateway) -> None:
    got = understood("node-openai", "openai_sdk.cjs", dragoman.urls["openai"] + "/v1")
    assert got["models"] == ["demo"]
    assert got["chat"]["text"].strip()
    assert got["streamed"] == got["chat"]
    assert got["text"]
    assert_refused_as_too_long(got["refused"])


def test_ollama_on_node(dragoman: Gateway) -> None:
    got = understood("node-ollama", "ollama_sdk.cjs", dragoman.urls["ollama"])
    assert [name.removesuffix(":latest") for name in got["models"]] == ["demo"]
    assert {"completion", "insert"} <= set(got["capabilities"])
    assert got["chat"].strip()
    assert got["streamed"] == got["chat"]
    assert got["done"] == [False] * (len(got["done"]) - 1) + [True]
    assert got["generated"]
    assert got["unknown"] == {"status": 404, "error": "model 'nobody' not found"}


@anthropic
def test_anthropic(dragoman: Gateway) -> None:
    got = understood("anthropic", "anthropic_sdk.py", dragoman.urls["openai"])
    assert got["text"].strip()
    assert got["reason"] in {"end_turn", "max_tokens"}
    assert got["streamed"]["blocks"] == [{"type": "text", "text": got["text"]}]
    assert (got["streamed"]["reason"], got["streamed"]["tokens"]) == (got["reason"], got["usage"][1])
    assert got["streamed"]["events"][0] == "message_start"
    assert got["streamed"]["events"][-1] == "message_stop"
    assert got["call"][0]["city"] in {"Paris", "Rome"}
    assert (got["call_reason"], got["streamed_call"]["reason"]) == ("tool_use", "tool_use")
    assert [block["input"] for block in got["streamed_call"]["blocks"] if block["type"] == "tool_use"] == got["call"]
    assert got["after_result"] == got["system"] == "assistant"
    assert got["counted"] == got["usage"][0]
    assert got["refused"]["status"] == 400
    assert got["refused"]["body"]["error"]["type"] == "invalid_request_error"


@anthropic
def test_anthropic_on_node(dragoman: Gateway) -> None:
    got = understood("node-anthropic", "anthropic_sdk.cjs", dragoman.urls["openai"])
    assert got["text"].strip()
    assert got["streamed"] == got["text"]
    assert got["reason"] in {"end_turn", "max_tokens"}
    assert got["counted"] > 0
