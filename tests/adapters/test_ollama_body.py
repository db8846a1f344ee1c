"""How a body is read, and what is said of one that can't be."""

from __future__ import annotations

import pytest

from adapters.ollama.body import decode
from backends.errors import MalformedBody
from tests.adapters.ollama_tools import CHAT, JSON_UTF8, ask
from tests.fakes import FakeModels, ScriptedBackend

CANNOT = "json: cannot unmarshal "
"""How every complaint about a type begins."""


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("", "missing request body"),
        (" \n", "missing request body"),
        ('{"model": ', "unexpected EOF"),
        ("model=m", "invalid character 'm' looking for beginning of value"),
        ("[1]", f"{CANNOT}array into Go value of type api.ChatRequest"),
        ('{"model":5}', f"{CANNOT}number into Go struct field ChatRequest.model of type string"),
        ('{"stream":"no"}', f"{CANNOT}string into Go struct field ChatRequest.stream of type bool"),
        ('{"messages":"x"}', f"{CANNOT}string into Go struct field ChatRequest.messages of type []api.Message"),
        ('{"messages":[5]}', f"{CANNOT}number into Go struct field ChatRequest.messages of type api.Alias"),
        (
            '{"messages":[{"content":["a"]}]}',
            f"{CANNOT}array into Go struct field ChatRequest.messages.content of type string",
        ),
        (
            '{"messages":[{"tool_calls":[{"function":{"name":3}}]}]}',
            f"{CANNOT}number into Go struct field ChatRequest.messages.tool_calls.function.name of type string",
        ),
        (
            '{"messages":[{"images":[5]}]}',
            f"{CANNOT}number into Go struct field ChatRequest.messages.images of type api.ImageData",
        ),
        ('{"messages":[{"images":["data:"]}]}', "illegal base64 data at input byte 4"),
        (
            '{"messages":[{"tool_calls":[{"function":{"arguments":"{}"}}]}]}',
            "Value looks like object, but can't find closing '}' symbol",
        ),
        ('{"tools":["f"]}', f"{CANNOT}string into Go struct field ChatRequest.tools of type api.Tool"),
        (
            '{"tools":[{"function":{"name":3}}]}',
            f"{CANNOT}number into Go struct field ToolFunction.tools.function.name of type string",
        ),
        (
            '{"tools":[{"function":{"parameters":"x"}}]}',
            f"{CANNOT}string into Go struct field ToolFunction.tools.function.parameters"
            " of type api.ToolFunctionParameters",
        ),
        ('{"top_logprobs":1.5}', f"{CANNOT}number 1.5 into Go struct field ChatRequest.top_logprobs of type int"),
        ('{"options":[]}', f"{CANNOT}array into Go struct field ChatRequest.options of type map[string]interface {{}}"),
        ('{"keep_alive":"5d"}', 'time: unknown unit "d" in duration "5d"'),
        ('{"keep_alive":true}', "Unsupported type: 'bool'"),
        ('{"think":"x"}', 'invalid think value: "x" (must be "high", "medium", "low", "max", true, or false)'),
        ('{"think":5}', 'think must be a boolean or string ("high", "medium", "low", "max", true, or false)'),
    ],
)
async def test_complaints_are_gos(body: str, complaint: str) -> None:
    said = await ask("chat", body)
    assert said.error == (400, complaint)
    assert said.content_type == JSON_UTF8


async def test_only_the_first_value_of_a_body_is_read() -> None:
    assert (await ask("chat", '{"model":"m"} and more')).json["done_reason"] == "load"


async def test_keys_match_in_any_case_and_the_exact_one_wins() -> None:
    assert (await ask("chat", '{"Model":"m","Stream":false}')).json["model"] == "m"
    assert (await ask("chat", '{"Model":"other","model":"m"}')).json["model"] == "m"


async def test_unknown_keys_are_ignored_and_reported() -> None:
    said = await ask("chat", CHAT | {"n": 2, "truncate": True, "shift": True, "options": {"mirostat": 1, "num_ctx": 5}})
    assert said.lines[-1]["done"]
    assert said.ignored == ["n", "options.mirostat", "options.num_ctx", "truncate", "shift"]


def test_what_is_no_utf8_is_replaced() -> None:
    assert decode(b'{"a":"\xff"}') == {"a": "\ufffd"}
    assert decode(rb'{"a":"\ud83d","b":"\ud83d\ude00"}') == {"a": "\ufffd", "b": "😀"}


def test_nesting_beyond_reason_is_refused() -> None:
    with pytest.raises(MalformedBody, match="exceeded max depth"):
        decode(b"[" * 5000 + b"]" * 5000)


@pytest.mark.parametrize(
    ("given", "seconds"), [(300, 300.0), (1.5, 1.5), ("5m", 300.0), (-1, float("inf")), ("-1m", float("inf"))]
)
async def test_keep_alive_in_all_its_forms(given: object, seconds: float) -> None:
    said = await ask("chat", CHAT | {"keep_alive": given})
    assert said.models.kept_s == {"m": seconds}


async def test_without_keep_alive_nothing_is_said_about_it() -> None:
    assert (await ask("chat", CHAT)).models.kept_s == {}


async def test_a_body_that_is_null_is_an_empty_one() -> None:
    assert (await ask("chat", "null")).error == (400, "model is required")
    assert (await ask("generate", "null")).error == (404, "model '' not found")


async def test_names_are_looked_up_as_ollama_reads_them() -> None:
    models = FakeModels.of(ScriptedBackend(), name="tiny", refuses=True)
    assert (await ask("chat", CHAT | {"model": "tiny:latest"}, models=models)).lines[0]["model"] == "tiny:latest"
    assert (await ask("chat", CHAT | {"model": "nope"}, models=models)).error == (404, "model 'nope' not found")
    assert (await ask("chat", CHAT | {"model": "no name"}, models=models)).error == (400, "invalid model name")


async def test_an_unknown_name_goes_to_the_default_model_where_the_config_says_so() -> None:
    models = FakeModels.of(ScriptedBackend(), name="m")
    assert (await ask("chat", CHAT | {"model": "llama3"}, models=models)).lines[0]["model"] == "llama3"
