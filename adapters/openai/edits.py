"""POST /v1/edits, which OpenAI closed in 2024 and some editors still call: an instruction, and a text to change by it.

Wire facts: openai-openapi 1.2.0 (CreateEditRequest, CreateEditResponse). A chat model does the work.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from adapters.base import Call
from adapters.openai.common import GenerationBody, resolve
from adapters.openai.completions import CompletionExchange
from backends.events import CompletedChoice
from backends.request import ChatPrompt, Message, Prompt

INSTRUCTION = "Change the user's text as the instruction says. Answer with the whole changed text and nothing else."


class EditBody(GenerationBody):
    instruction: str
    input: str = ""

    def prompts(self) -> tuple[Prompt, ...]:
        asked = f"{self.instruction}\n\n{self.input}" if self.input else self.instruction
        return (ChatPrompt((Message("system", INSTRUCTION), Message("user", asked))),)

    def num_top_logprobs(self) -> int | None:
        return None


class EditExchange(CompletionExchange):
    """Has neither id nor model, and is never streamed."""

    body_object = "edit"

    def envelope(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {"object": kind, "created": self.created, "choices": choices}

    def body_choice(self, choice: CompletedChoice) -> dict[str, Any]:
        return {"text": choice.text, "index": choice.index}


async def edits(call: Call) -> EditExchange:
    body = EditBody.parse(call)
    options = replace(body.options(), streams=False)
    return EditExchange(call, resolve(call, body.model), body.request(call.id), options)
