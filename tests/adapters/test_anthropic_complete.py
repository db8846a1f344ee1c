"""POST /v1/complete, as clients of 2023 send it."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.anthropic.complete import conversation
from adapters.anthropic.dialect import DIALECT
from backends.request import ChatPrompt, Message, Prompt, TextPrompt
from tests.adapters.anthropic_tools import read_event, refusal
from tests.fakes import CUT, HELLO, STOPPED, FakeModels, Script, ScriptedBackend, answer, call

BODY: dict[str, Any] = {"model": "claude-2", "prompt": "\n\nHuman: hi\n\nAssistant:", "max_tokens_to_sample": 9}


async def ask(script: Script = HELLO, **fields: Any) -> Any:
    asked = call("POST", "/v1/complete", BODY | fields, models=FakeModels.of(ScriptedBackend(script)))
    return await answer(DIALECT.verbs["complete"], asked)


@pytest.mark.parametrize(
    ("script", "text", "reason", "stop"),
    [
        (HELLO, "Hello world", "stop_sequence", "\n\nHuman:"),
        (CUT, "one two", "max_tokens", None),
        (STOPPED, "one two", "stop_sequence", " three"),
    ],
)
async def test_whole_and_streamed_say_the_same(script: Script, text: str, reason: str, stop: str | None) -> None:
    whole = (await ask(script)).json
    expected = {"type": "completion", "completion": text, "stop_reason": reason, "model": "claude-2", "stop": stop}
    assert {key: whole[key] for key in expected} == expected
    *pieces, last = [read_event(frame) for frame in (await ask(script, stream=True)).frames]
    assert "".join(piece["completion"] for piece in pieces) == text
    assert {piece["stop_reason"] for piece in pieces} == {None}
    assert last == whole | {"completion": ""}


@pytest.mark.parametrize(
    ("prompt", "meant"),
    [
        ("\n\nHuman: hi\n\nAssistant:", ChatPrompt((Message("user", "hi"),))),
        ("Be brief.\n\nHuman: hi\n\nAssistant: So", ChatPrompt(
            (Message("system", "Be brief."), Message("user", "hi"), Message("assistant", "So")),
            continue_final=True, add_generation_prompt=False)),
        ("import ", TextPrompt(("import ",))),
    ],
)  # fmt: skip
def test_the_conversation_that_a_prompt_stands_for(prompt: str, meant: Prompt) -> None:
    assert conversation(prompt) == meant


async def test_what_is_missing_is_named() -> None:
    status, body = await refusal("complete", {"model": "claude-2", "prompt": "x"})
    assert (status, body["error"]["message"]) == (400, "max_tokens_to_sample: Field required")
