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


@pytest.mark.parametrize("client", ["openai", "openai-1"])
def test_openai_beyond_plain_chats(dragoman: Gateway, client: str) -> None:
    got = understood(client, "openai_newer.py", dragoman.urls["openai"] + "/v1")
    responses = got["responses"]
    assert responses["text"] == responses["streamed"] == responses["kept"]
    assert (responses["status"], responses["grew"], responses["items"]) == ("completed", True, 1)
    first, last = "response.created response.in_progress", "response.output_item.done response.completed"
    assert (" ".join(responses["events"][:2]), " ".join(responses["events"][-2:])) == (first, last)
    called = got["response_tools"]
    assert (called["name"], called["arguments"]) == ("get_weather", called["streamed"])
    assert set(got["parsed"]["answers"]) <= {"yes", "no"}
    assert got["parsed"]["arguments"]["city"] in {"Paris", "Rome"}
    assert "tool_calls.function.arguments.done" in got["parsed"]["events"]
    assert (got["legacy"]["name"], got["legacy"]["after"]) == ("get_weather", "assistant")
    assert got["embeddings"] == {"count": 2, "distance": 0.0}
    assert got["asynchronous"] == ["length"] * 8
    assert got["refusals"] == {
        "temperature": ["BadRequestError", "temperature", "invalid_value"],
        "messages": ["BadRequestError", "messages", "invalid_value"],
        "previous": ["BadRequestError", "previous_response_id", "previous_response_not_found"],
        "path": ["NotFoundError", None, "unknown_url"],
        "model": ["NotFoundError", "model", "model_not_found"],
    }


@pytest.mark.parametrize("client", ["openai-0.27", "openai-0.28"])
@pytest.mark.parametrize("base", ["/v1", ""], ids=["with v1", "without v1"])
def test_openai_of_2023(dragoman: Gateway, base: str, client: str) -> None:
    got = understood(client, "openai_028.py", dragoman.urls["openai"] + base)
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
    assert got["called"] == {
        "call": [["read_file", {"path": "main.py"}]], "streamed": [{"path": "main.py"}], "after": "assistant",
    }  # fmt: skip
    assert got["embedded"] == [2, 0]
    assert got["asynchronous"] == got["chat"]
    assert got["managed"]["pulled"][-1] == "success"
    assert {"demo", "copied", "made"} <= set(got["managed"]["names"])
    assert got["managed"]["deleted"] == ["success", "success"]
    assert got["managed"]["lifetime"] == ["unload", "load"]
    assert got["refusals"] == {
        "show": [404, "model 'nobody' not found"],
        "delete": [404, "model 'nobody' not found"],
        "think": [400, '"demo" does not support thinking'],
        "images": [400, "registry.ollama.ai/library/demo:latest does not support vision"],
        "options": [500, 'option "stop" must be of type array'],
    }


def test_openai_on_node(dragoman: Gateway) -> None:
    got = understood("node-openai", "openai_sdk.cjs", dragoman.urls["openai"] + "/v1")
    assert got["models"] == ["demo"]
    assert got["chat"]["text"].strip()
    assert got["streamed"] == got["chat"]
    assert got["text"]
    assert (got["called"]["reason"], got["called"]["after"]) == ("tool_calls", "assistant")
    assert got["called"]["call"] == got["called"]["streamed"]
    assert got["structured"]["place"]["city"] in {"Paris", "Rome"}
    assert got["structured"]["response"].strip()
    assert got["embedding"] > 0
    assert_refused_as_too_long(got["refused"])


def test_ollama_on_node(dragoman: Gateway) -> None:
    got = understood("node-ollama", "ollama_sdk.cjs", dragoman.urls["ollama"])
    assert [name.removesuffix(":latest") for name in got["models"]] == ["demo"]
    assert {"completion", "insert"} <= set(got["capabilities"])
    assert got["chat"].strip()
    assert got["streamed"] == got["chat"]
    assert got["done"] == [False] * (len(got["done"]) - 1) + [True]
    assert got["generated"]
    assert [call["function"]["arguments"] for call in got["called"]] == [{"path": "main.py"}]
    assert isinstance(got["structured"]["yes"], bool)
    assert got["embedded"] == 2
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
    assert got["called"]["call"] == got["called"]["streamed"]
    assert (got["called"]["reason"], got["called"]["after"]) == ("tool_use", "assistant")
    assert got["refused"] == {
        "status": 400, "type": "invalid_request_error", "message": "max_tokens: Field required",
    }  # fmt: skip
    assert got["counted"] > 0
