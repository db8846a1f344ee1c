"""What requests are for, as real clients send them."""

from __future__ import annotations

from typing import Any

import pytest

from backends.request import (
    ChatPrompt,
    FunctionCall,
    GenerateRequest,
    InfillPrompt,
    Intent,
    Message,
    Prompt,
    TextPrompt,
    Tool,
)
from gateway.intent import RULES, Overrides, intent_of, verdict_of_verb
from gateway.rhythm import READING_S, TYPING_S, Pace, Rhythm
from tests.fakes import ScriptedBackend
from tests.gateway.conftest import Connect, LogLines

HELLO = ChatPrompt((Message("user", "hello"),))
USED = (Message("assistant", tool_calls=(FunctionCall("1", "f", "{}"),)), Message("tool", "42", tool_call_id="1"))


def request(*prompts: Prompt, **options: Any) -> GenerateRequest:
    return GenerateRequest(id="r", prompts=prompts, **options)


CASES: list[tuple[GenerateRequest, str, Pace, Intent, str]] = [
    (request(InfillPrompt("a", "b")), "", Pace(), Intent.COMPLETION, "a hole is to be filled"),
    (request(TextPrompt(("<|fim_prefix|>a<|fim_suffix|>b<|fim_middle|>",))), "", Pace(num_running=20),
     Intent.COMPLETION, "a hole is to be filled"),
    (request(TextPrompt(("import ",)), max_tokens=64), "", Pace(), Intent.COMPLETION, "a few tokens of plain text"),
    (request(TextPrompt(("import os",)), max_tokens=512), "", Pace(is_typed=True), Intent.COMPLETION,
     "the prompt grows as somebody types"),
    (request(TextPrompt(("Q: why?",)), max_tokens=512), "", Pace(), Intent.CHAT, "nothing speaks against"),
    (request(HELLO), "", Pace(), Intent.CHAT, "nothing speaks against"),
    (request(ChatPrompt(HELLO.messages, tools=(Tool("f"),))), "", Pace(), Intent.AGENT, "it may call tools"),
    (request(ChatPrompt((*HELLO.messages, *USED))), "", Pace(), Intent.AGENT, "tools were called before"),
    (request(HELLO), "claude-cli/2.0.1 (external, cli)", Pace(), Intent.AGENT, "its client is an agent"),
    (request(HELLO), "", Pace(num_running=9), Intent.AGENT, "its client asks for many at once"),
    (request(HELLO), "", Pace(is_immediate=True), Intent.AGENT, "the chat went on faster than a person reads"),
    (request(TextPrompt(("a",)), max_tokens=0, echo=True), "", Pace(), Intent.BULK,
     "the prompt's own log-probabilities are wanted"),
    (request(*[TextPrompt((str(i),)) for i in range(20)], max_tokens=16), "", Pace(), Intent.BULK,
     "many prompts in one request"),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "agent", "pace", "intent", "reason"), CASES)
def test_the_first_rule_that_holds_decides(
    asked: GenerateRequest, agent: str, pace: Pace, intent: Intent, reason: str
) -> None:
    verdict = intent_of(asked, agent, pace)
    assert verdict.intent is intent
    assert verdict.reason.startswith(reason)


def test_every_rule_is_reached_by_a_case() -> None:
    assert {rule.reason for rule in RULES} <= {reason for *_, reason in CASES}


def test_embeddings_are_bulk() -> None:
    verdict = verdict_of_verb("openai.embeddings", None)
    assert verdict is not None
    assert verdict.intent is Intent.BULK
    assert verdict_of_verb("openai.models", None) is None


def test_the_config_knows_better_than_the_header_and_the_header_better_than_the_rules() -> None:
    overrides = Overrides(classes={"my-indexer": Intent.BULK})
    said = {"X-Priority": "Completion"}
    for client, headers, intent in (
        ("1.2.3.4 my-indexer/1", said, Intent.BULK),
        ("1.2.3.4 other", said, Intent.COMPLETION),
        ("1.2.3.4 other", {"X-Priority": "3"}, None),
        ("1.2.3.4 other", {}, None),
    ):
        verdict = overrides.verdict(client, headers)
        assert (verdict.intent if verdict else None) is intent
    assert Overrides(header=None).verdict("", said) is None


def test_a_chat_that_goes_on_at_once_is_nobodys_who_reads() -> None:
    rhythm = Rhythm()
    assert not rhythm.begin("c", HELLO, 0.0).is_immediate
    rhythm.end("c", 1.0)
    longer = ChatPrompt((*HELLO.messages, Message("assistant", "hi"), Message("user", "go on")))
    assert rhythm.begin("c", longer, 1.0 + READING_S).is_immediate
    rhythm.end("c", 5.0)
    longest = ChatPrompt((*longer.messages, Message("assistant", "hm"), Message("user", "go on")))
    assert not rhythm.begin("c", longest, 5.1 + READING_S).is_immediate
    rhythm.end("c", 9.0)
    assert not rhythm.begin("c", HELLO, 9.1).is_immediate, "another chat"


def test_a_prompt_that_grows_is_typed_and_clients_are_told_apart() -> None:
    rhythm = Rhythm()
    rhythm.begin("c", TextPrompt(("import numpy",)), 0.0)
    assert rhythm.begin("c", TextPrompt(("import numpy as",)), TYPING_S).is_typed
    assert not rhythm.begin("d", TextPrompt(("import numpy as np",)), TYPING_S).is_typed
    assert not rhythm.begin("c", TextPrompt(("import numpy as np",)), 3 * TYPING_S).is_typed


def test_who_is_running_is_counted_and_clients_are_forgotten_in_the_end() -> None:
    rhythm = Rhythm()
    assert [rhythm.begin("c", HELLO, 0.0).num_running for _ in range(3)] == [1, 2, 3]
    for i in range(5000):
        rhythm.begin(str(i), HELLO, 0.0)
        rhythm.end(str(i), 0.0)
    assert rhythm.begin("c", HELLO, 0.0).num_running == 4, "it was never idle"


async def test_the_line_says_what_a_request_was_for_and_why(connect: Connect, log_lines: LogLines) -> None:
    backend = ScriptedBackend()
    client = await connect(backend)
    await client.post("/v1/completions", json={"model": "demo", "prompt": "import ", "max_tokens": 8})
    await client.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "a"}]},
                      headers={"X-Priority": "bulk"})  # fmt: skip
    await client.post("/v1/embeddings", json={"input": "a"})
    await client.post("/v1/embeddings", json={"input": "a"}, headers={"X-Priority": "chat"})
    lines = [line for line in log_lines if line["event"] == "request"]
    assert [(line["intent"], line["because"]) for line in lines] == [
        ("completion", "a few tokens of plain text"),
        ("bulk", "its X-Priority says so"),
        ("bulk", "embeddings"),
        ("chat", "its X-Priority says so"),
    ]
    assert [asked.intent for asked in backend.embedded] == [Intent.BULK, Intent.CHAT]
    assert {asked.client for asked in backend.embedded} == {backend.requests[0].client}
    assert [asked.intent for asked in backend.requests] == [Intent.COMPLETION, Intent.BULK]
    assert len({asked.client for asked in backend.requests}) == 1
