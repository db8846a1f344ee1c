"""POST /v1/completions as llama-cpp-python answers it, and Copilot's engine route.

Wire facts: llama-cpp-python llama_cpp/server/types.py (CreateCompletionRequest), llama_cpp/llama.py
(_create_completion).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from pydantic import Field

from adapters.base import Call
from adapters.llamacpp_python.answer import Accent
from adapters.llamacpp_python.body import GenerationBody
from adapters.openai.completions import CompletionExchange
from backends.errors import InvalidRequest
from backends.events import CompletedChoice, Finished, Text, TokenLogprob
from backends.request import GenerateRequest, InfillPrompt, Prompt, TextPrompt


class CompletionBody(GenerationBody):
    """A list of prompts may hold one at most. A stream never echoes."""

    handler: ClassVar[str] = "create_completion"
    line: ClassVar[int] = 264

    prompt: str | list[str] = ""
    suffix: str | None = None
    max_tokens: int | None = Field(default=16, ge=0)
    echo: bool = False
    logprobs: int | None = Field(default=None, ge=0)
    best_of: int | None = 1

    def request(self, request_id: str) -> GenerateRequest:
        """Raises InvalidRequest."""
        echoes = self.echo and not self.stream
        return GenerateRequest(
            id=request_id,
            prompts=(self._prompt(),),
            max_tokens=self.length(),
            min_tokens=self.min_tokens,
            stop=self.stops(),
            sampling=self.sampling(),
            top_logprobs=self.logprobs,
            prompt_logprobs=self.logprobs if echoes else None,
            echo=echoes,
            output=self.constraint(),
        )

    def _prompt(self) -> Prompt:
        texts = [self.prompt] if isinstance(self.prompt, str) else self.prompt
        if len(texts) > 1:
            raise InvalidRequest("", param="prompt")  # an assertion without words
        text = texts[0] if texts else ""
        return TextPrompt((text,)) if self.suffix is None else InfillPrompt(text, self.suffix)


class PythonCompletionExchange(Accent, CompletionExchange):
    def on_text(self, event: Text) -> Iterable[bytes]:
        return super().on_text(event) if event.text or event.logprobs else ()

    def chunk_choice(self, index: int, text: str, finish_reason: str | None = None) -> dict[str, Any]:
        return {"text": text, "index": index, "logprobs": None, "finish_reason": finish_reason}

    def finish_choice(self, event: Finished) -> dict[str, Any]:
        return self.chunk_choice(event.index, "", self.finish_reason(event))

    def logprobs(self, tokens: tuple[TokenLogprob | None, ...], offset: int, text: str) -> dict[str, Any]:
        """A stream has the tokens in front."""
        lists = super().logprobs(tokens, offset, text)
        return {"tokens": lists["tokens"], **lists} if self.streams else lists

    def body_choice(self, choice: CompletedChoice) -> dict[str, Any]:
        shape = super().body_choice(choice)
        del shape["stop_reason"]
        return shape


async def completions(call: Call) -> PythonCompletionExchange:
    body = CompletionBody.parse(call)
    served = call.models.resolve(call.params.get("model") or body.model)
    return PythonCompletionExchange(call, served, body.request(call.id), body.options())
