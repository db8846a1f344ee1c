"""POST /v1/completions as Tabby answers it: code between two segments, whole, and short.

Declarations and snippets of other files come before the code, as files of their own. A file with CRLF is shown to the
model with LF and gets CRLF back. Wire facts: tabby crates/tabby/src/services/completion.rs, crates/tabby-common
src/config.rs (64 tokens), crates/tabby-inference/src/code.rs (temperature 0.1).
"""

from __future__ import annotations

import uuid
from typing import Any, Literal

from pydantic import Field, StrictStr

from adapters import framing
from adapters.base import Call, Reply, Served
from adapters.body import Body, Fields
from adapters.openai.common import MAX_SEED
from adapters.tabby.languages import stop_words
from adapters.whole import WholeExchange
from backends.errors import MissingField
from backends.events import Completion
from backends.request import TEMPERATURE_FIRST, GenerateRequest, InfillPrompt, Prompt, Sampling, TextPrompt

_MAX_TOKENS = 64


class Snippet(Fields):
    filepath: StrictStr
    body: StrictStr
    score: float = 0.0


class Segments(Fields):
    """clipboard and git_url have no effect, there neither."""

    prefix: StrictStr
    suffix: StrictStr = ""
    filepath: str = ""
    git_url: str = ""
    clipboard: str = ""
    declarations: tuple[Snippet, ...] = ()
    relevant_snippets_from_changed_files: tuple[Snippet, ...] = ()
    relevant_snippets_from_recently_opened_files: tuple[Snippet, ...] = ()

    @property
    def snippets(self) -> tuple[Snippet, ...]:
        return (
            *self.declarations,
            *self.relevant_snippets_from_changed_files,
            *self.relevant_snippets_from_recently_opened_files,
        )

    @property
    def has_crlf(self) -> bool:
        return "\r\n" in self.prefix or "\r\n" in self.suffix


class DebugOptions(Fields):
    raw_prompt: str | None = None
    return_snippets: bool = False
    return_prompt: bool = False
    disable_retrieval_augmented_code_completion: bool = False


class CompletionBody(Body):
    language: str = "unknown"
    segments: Segments | None = None
    user: str | None = None
    debug_options: DebugOptions | None = None
    temperature: float = Field(default=0.1, ge=0)
    seed: int | None = Field(default=None, ge=0, le=MAX_SEED)
    mode: Literal["standard"] = "standard"

    @property
    def snippets(self) -> tuple[Snippet, ...]:
        debug = self.debug_options
        if self.segments is None or (debug and debug.disable_retrieval_augmented_code_completion):
            return ()
        return self.segments.snippets

    def request(self, request_id: str) -> GenerateRequest:
        """Raises MissingField."""
        return GenerateRequest(
            id=request_id,
            prompts=(self._prompt(),),
            max_tokens=_MAX_TOKENS,
            stop=stop_words(self.language),
            sampling=Sampling(
                temperature=self.temperature,
                top_k=0,
                top_p=1.0,
                min_p=0.0,
                repetition_penalty=1.0,
                presence_penalty=0.0,
                frequency_penalty=0.0,
                order=TEMPERATURE_FIRST,
                seed=self.seed,
            ),
        )

    def _prompt(self) -> Prompt:
        if self.debug_options and self.debug_options.raw_prompt is not None:
            return TextPrompt((self.debug_options.raw_prompt,))
        if self.segments is None or not (self.segments.prefix or self.segments.suffix):
            raise MissingField("segments")
        extra = tuple((snippet.filepath, snippet.body) for snippet in self.snippets)
        prefix, suffix = (text.replace("\r\n", "\n") for text in (self.segments.prefix, self.segments.suffix))
        return InfillPrompt(prefix, suffix, extra) if suffix or extra else TextPrompt((prefix,))


class CompletionExchange(WholeExchange):
    def __init__(self, call: Call, served: Served, body: CompletionBody) -> None:
        super().__init__(served, body.request(call.id))
        self._id = f"cmpl-{uuid.UUID(call.id)}"
        self._body = body

    def reply(self, completion: Completion) -> Reply:
        (choice,) = completion.ordered
        has_crlf = self._body.segments is not None and self._body.segments.has_crlf
        text = choice.text.replace("\n", "\r\n") if has_crlf else choice.text
        shape: dict[str, Any] = {"id": self._id, "choices": [{"index": 0, "text": text}]}
        if self._body.debug_options:
            shape["debug_data"] = self._debug_data(self._body.debug_options, choice.started.prompt_text)
        return Reply(framing.to_json(shape | {"mode": self._body.mode}))

    def _debug_data(self, asked: DebugOptions, prompt: str) -> dict[str, Any]:
        data: dict[str, Any] = {}
        if asked.return_snippets:
            names = ("filepath", "body", "score")
            data["snippets"] = [{name: getattr(x, name) for name in names} for x in self._body.snippets]
        if asked.return_prompt:
            data["prompt"] = prompt
        return data


async def completions(call: Call) -> CompletionExchange:
    return CompletionExchange(call, call.models.resolve(None), CompletionBody.parse(call))
