"""POST /v1/completions, as OpenAI and vLLM's server answer it, and the engine routes of 2022's clients.

Wire facts: openai-python `types/completion*.py`, vllm entrypoints/openai/completion.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field
from typing_extensions import assert_never

from adapters.base import Call, Served
from adapters.openai.common import AnswerOptions, GenerationBody, resolve
from adapters.openai.exchange import FINISH_REASONS, OpenAIExchange
from adapters.openai.logprobs import text_logprobs, vllm_prompt_logprobs
from adapters.openai.messages import WireMessage, to_messages
from adapters.openai.prompts import Prompts, TokenIds
from backends.errors import InvalidField
from backends.events import (
    CompletedChoice,
    Event,
    Finished,
    Prefilled,
    Reasoning,
    Started,
    Text,
    TokenLogprob,
    ToolCallArguments,
    ToolCallStarted,
)
from backends.request import ChatPrompt, GenerateRequest, InfillPrompt, Prompt, TextPrompt


def _no_flag(value: Any) -> Any:
    """Some clients take over chat's `logprobs: false`."""
    return None if value is False else value


class CompletionBody(GenerationBody):
    """default_length: the max_tokens of a client that doesn't say. n_predict: the same in llama.cpp's words, from
    clients for LM Studio. `messages` come from clients that mistake the route (Twinny's Ooba provider, Continue's GGML
    class): they are a chat whose answer has the text's shape.
    """

    default_length: ClassVar[int | None] = 16

    prompt: Prompts = ()
    suffix: str | None = None
    echo: bool = False
    best_of: int | None = Field(default=None, ge=1, le=128)
    logprobs: Annotated[int | None, BeforeValidator(_no_flag)] = Field(default=None, ge=0, le=20)
    n_predict: int | None = None
    add_special_tokens: bool = True
    messages: tuple[WireMessage, ...] = ()

    def length(self) -> int | None:
        """A chat may fill the window, as on its own route."""
        if "max_tokens" in self or "max_completion_tokens" in self or self.is_chat:
            return super().length()
        if self.n_predict is not None:
            return None if self.n_predict < 0 else self.n_predict
        return self.default_length

    @property
    def is_chat(self) -> bool:
        return bool(self.messages) and "prompt" not in self

    def num_top_logprobs(self) -> int | None:
        return self.logprobs

    def prompts(self) -> tuple[Prompt, ...]:
        """One for each string or list of token ids. A missing prompt is an empty one: OpenAI's `<|endoftext|>`."""
        if self.is_chat:
            return (ChatPrompt(to_messages(self.messages)),)
        return tuple(self._prompt(text) for text in self.prompt or ("",))

    def request(self, request_id: str) -> GenerateRequest:
        request = super().request(request_id)
        if self.best_of is not None and self.best_of != self.n:
            if self.best_of < self.n:
                raise InvalidField("best_of", f"must be at least n, which is {self.n}", self.best_of)
            if self.stream:
                raise InvalidField("best_of", "answers can't be streamed when best_of is greater than n", self.best_of)
            request.best_of = self.best_of
        request.echo = self.echo
        if self.echo and self.logprobs is not None and self.prompt_logprobs is None:
            request.prompt_logprobs = self.logprobs
        return request

    def _prompt(self, text: str | TokenIds) -> Prompt:
        if not self.suffix:
            return TextPrompt((text,), add_special=self.add_special_tokens)
        if not isinstance(text, str):
            raise InvalidField("suffix", "needs a prompt of text, not of token ids", self.suffix)
        return InfillPrompt(text, self.suffix)


class CompletionExchange(OpenAIExchange):
    id_prefix = "cmpl"
    body_object = "text_completion"
    chunk_object = "text_completion"

    def __init__(self, call: Call, served: Served, request: GenerateRequest, options: AnswerOptions) -> None:
        super().__init__(call, served, request, options)
        self.offsets: dict[int, int] = {}  # by choice: characters before the next token, for text_offset
        self.fresh: set[int] = set()  # choices of which nothing has been sent

    def frames(self, event: Event) -> Iterable[bytes]:
        """Thought and calls have no place in this shape; only a chat that was sent to this route can have any."""
        match event:
            case Text():
                return self.on_text(event)
            case Started():
                return self.on_started(event)
            case Finished():
                return self.on_finished(event)
            case Prefilled() | Reasoning() | ToolCallStarted() | ToolCallArguments():
                return ()
            case _:
                assert_never(event)

    # streamed

    def on_started(self, event: Started) -> Iterable[bytes]:
        self.note(event)
        self.offsets[event.index] = self.first_offset(event)
        self.fresh.add(event.index)
        return ()

    def on_text(self, event: Text) -> Iterable[bytes]:
        if self.is_plain and self.request.top_logprobs is None and not self.request.echo:
            return (self.filled(event.index, event.text, lambda text: self.chunk_choice(event.index, text)),)
        return (self._detailed(event),)

    def on_finished(self, event: Finished) -> Iterable[bytes]:
        self.note(event)
        return (self.frame(self.chunk(self.finish_choice(event))),)

    def _detailed(self, event: Text) -> bytes:
        index = event.index
        started = self.seen.choices[index].started
        is_echo = self.request.echo and index in self.fresh
        text = self.as_written(event.text, started) if is_echo else event.text
        self.num_tokens[index] += 0 if is_echo else len(event.token_ids)
        choice = self.chunk_choice(index, text)
        tokens = (*started.prompt_logprobs, *event.logprobs) if is_echo else event.logprobs
        if tokens:
            choice["logprobs"] = self.logprobs(tokens, self.offsets[index], text)
        self.offsets[index] += len(text)
        if self.options.sends_token_ids:
            choice["token_ids"] = event.token_ids
            if index in self.fresh:
                choice["prompt_token_ids"] = started.prompt_token_ids
        self.fresh.discard(index)
        return self.frame(self.chunk(choice))

    # shapes

    def chunk_choice(self, index: int, text: str, finish_reason: str | None = None) -> dict[str, Any]:
        return {"index": index, "text": text, "logprobs": None, "finish_reason": finish_reason}

    def finish_choice(self, event: Finished) -> dict[str, Any]:
        return self.chunk_choice(event.index, "", self.finish_reason(event)) | {"stop_reason": event.stop_text}

    def body_choice(self, choice: CompletedChoice) -> dict[str, Any]:
        text = self.as_written(choice.text, choice.started) if self.request.echo else choice.text
        shape = self.chunk_choice(choice.index, text, self.finish_reason(choice.end))
        shape["stop_reason"] = choice.end.stop_text
        if self.request.top_logprobs is not None:
            echoed = choice.started.prompt_logprobs if self.request.echo else ()
            shape["logprobs"] = self.logprobs((*echoed, *choice.logprobs), self.first_offset(choice.started), text)
        if self.options.sends_prompt_logprobs:
            shape["prompt_logprobs"] = vllm_prompt_logprobs(choice.started.prompt_logprobs)
        if self.options.sends_token_ids:
            shape |= {"token_ids": choice.token_ids, "prompt_token_ids": choice.started.prompt_token_ids}
        return shape

    def logprobs(self, tokens: tuple[TokenLogprob | None, ...], offset: int, text: str) -> dict[str, Any]:
        """text: what the tokens stand for, perhaps with more behind; a first token without log-probability is what
        the others leave of it."""
        first_text = ""
        if tokens and tokens[0] is None:
            rest = b"".join(token.bytes for token in tokens if token is not None)
            first_text = text[: max(0, len(text) - len(rest.decode("utf-8", "replace")))]
        return text_logprobs(tokens, offset, first_text=first_text, as_ids=self.options.names_by_id)

    def finish_reason(self, finished: Finished) -> str:
        """A text completion has no calls: a chat that was sent to this route ends with `stop`."""
        return "stop" if finished.reason == "tool_calls" else FINISH_REASONS[finished.reason]

    def as_written(self, text: str, started: Started) -> str:
        """text begins with the prompt as the model got it; the client gets it back as it wrote it."""
        match self.request.prompts[started.index // self.request.n]:
            case TextPrompt(parts=(str(own),)) if started.prompt_text.endswith(own):
                return text.removeprefix(started.prompt_text.removesuffix(own))  # a BOS in front
            case InfillPrompt(prefix=own) if text.startswith(started.prompt_text):
                return own + text.removeprefix(started.prompt_text)
            case _:
                return text

    def first_offset(self, started: Started) -> int:
        """Where the answer begins, in characters: behind the prompt, unless the prompt comes back with it."""
        if self.request.echo:
            return 0
        match self.request.prompts[started.index // self.request.n]:
            case TextPrompt(parts=(str(text),)) | InfillPrompt(prefix=text):
                return len(text)
            case _:
                return len(started.prompt_text)


async def completions(call: Call) -> CompletionExchange:
    body = CompletionBody.parse(call)
    return CompletionExchange(call, resolve(call, body.model), body.request(call.id), body.options())
