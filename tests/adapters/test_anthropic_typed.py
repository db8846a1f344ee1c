"""Every answer and every stream event fits the anthropic package's types, strictly: no coercion, nothing missing."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from adapters.anthropic.dialect import DIALECT
from tests.adapters.anthropic_tools import BODY, TOOLS, ask, refusal, stream
from tests.e2e.sdk import understood
from tests.fakes import CUT, EMOJI, HELLO, STOPPED, THINKING, TWO_CALLS, WEATHER, Script, answer, call

SCRIPTS = [HELLO, EMOJI, CUT, STOPPED, THINKING, WEATHER, TWO_CALLS, Script(())]
FIELDS: list[dict[str, Any]] = [{}, {"tools": TOOLS}, {"thinking": {"type": "adaptive", "display": "omitted"}}]


def assert_valid(values: Iterable[tuple[str, Any]]) -> None:
    lines = [json.dumps({"type": f"anthropic.types.{name}", "value": value}) for name, value in values]
    assert understood("anthropic", "strict_types.py", stdin="\n".join(lines)) == []


async def test_messages() -> None:
    asked = [(fields, script) for script in SCRIPTS for fields in FIELDS]
    values = [("Message", await ask(fields, script)) for fields, script in asked]
    for fields, script in asked:
        events = await stream(fields, script)
        values += [("RawMessageStreamEvent", event) for event in events if event["type"] != "ping"]
    assert_valid(values)


async def test_models_counts_and_errors() -> None:
    models = (await answer(DIALECT.verbs["models"], call("GET", "/v1/models"))).json
    counted = (await answer(DIALECT.verbs["count_tokens"], call("POST", "/v1/messages/count_tokens", BODY))).json
    _, refused = await refusal("messages", {})
    assert_valid([
        *(("ModelInfo", card) for card in models["data"]),
        ("MessageTokensCount", counted),
        ("ErrorResponse", refused),
    ])  # fmt: skip
