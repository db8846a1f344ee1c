"""One answer that a server is asked for: a choice of a request, and what of it has been sent on so far.

Choices are asked for one by one: servers count the tokens of several together, and vLLM refuses several greedy ones. A
call outlives the worker that it was put to: it can be put to another, and where text was sent already, go on from
there. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from backends.events import Event, Finished, Prefilled, Reasoning, Started, Text, ToolCallArguments, ToolCallStarted
from backends.facts import Facts
from backends.model_folder import ModelFolder
from backends.request import ChatPrompt, GenerateRequest, Prompt, TextPrompt
from backends.upstream_events import Reading
from backends.upstream_request import UpstreamRequest, to_upstream


@dataclass(slots=True)
class Call:
    """index: the choice's number. end_ids: tokens that end the answer besides the model's own.

    started: once it was sent on. text, ids: of the answer, sent on. has_more_than_text: so was thought or a tool call.
    before: tokens that were sent on before the present attempt.
    """

    request: GenerateRequest
    prompt: Prompt
    index: int
    seed: int | None
    end_ids: frozenset[int] = frozenset()
    started: Started | None = None
    prompt_ids: tuple[int, ...] = ()
    text: str = ""
    ids: list[int] = field(default_factory=list)
    has_more_than_text: bool = False
    before: tuple[int, ...] = ()

    @property
    def has_answered(self) -> bool:
        return bool(self.text or self.ids or self.has_more_than_text)

    def wire(self, facts: Facts, folder: ModelFolder | None) -> UpstreamRequest:
        """Raises Unsupported."""
        request, prompt = self.request, self.prompt
        if self.end_ids:
            request = replace(request, stop_token_ids=(*request.stop_token_ids, *sorted(self.end_ids)))
        if self.before:
            prompt = TextPrompt((self.prompt_ids + self.before,), add_special=False)
            request = replace(
                request,
                max_tokens=None if request.max_tokens is None else request.max_tokens - len(self.before),
                min_tokens=max(0, request.min_tokens - len(self.before)),
            )
        return to_upstream(
            request,
            prompt,
            facts.accent,
            model=facts.model,
            window=facts.window,
            seed=self.seed,
            names_by_id=folder is not None,
        )

    def reading(self, folder: ModelFolder | None) -> Reading:
        request = self.request
        return Reading(
            index=self.index,
            stop_token_ids=frozenset(request.stop_token_ids),
            num_prompt_logprobs=request.prompt_logprobs,
            prompt_text=lambda ids: self._prompt_text(ids, folder),
            token_bytes=folder.tokenizer.token_bytes if folder else None,
            echoes=request.echo,
            drops_text=request.max_tokens == 0,
        )

    def _prompt_text(self, ids: Sequence[int], folder: ModelFolder | None) -> str:
        match self.prompt:
            case TextPrompt(parts=(str(text),)):
                return text
            case _:
                return folder.text_of(ids) if folder else ""

    def sent(self, events: Sequence[Event]) -> Iterator[Event]:
        """Those that are news to the client: a second attempt begins as the first did."""
        for event in events:
            match event:
                case Started():
                    self.prompt_ids = self.prompt_ids or event.prompt_token_ids
                    if self.started is None:
                        self.started = event
                        yield event
                case Finished():
                    yield self._whole(event)
                case _:
                    self._note(event)
                    yield event

    def _note(self, event: Text | Reasoning | ToolCallStarted | ToolCallArguments | Prefilled) -> None:
        if isinstance(event, Text):
            self.text += event.text
            self.ids += event.token_ids
        else:
            self.has_more_than_text = True

    def _whole(self, event: Finished) -> Finished:
        """Counts what came before the worker died, and the prompt as the client sent it."""
        if not self.before:
            return event
        num_tokens = event.usage.completion_tokens + len(self.before)
        usage = replace(event.usage, prompt_tokens=len(self.prompt_ids), completion_tokens=num_tokens, cached_tokens=0)
        return replace(event, usage=usage)

    def can_resume(self) -> bool:
        """Only plain text can be gone on with: tool parsers and grammars have lost their place."""
        request = self.request
        has_tools = isinstance(self.prompt, ChatPrompt) and bool(self.prompt.tools)
        has_room = request.max_tokens is None or len(self.ids) < request.max_tokens
        is_plain = not (self.has_more_than_text or has_tools or request.output or request.echo)
        return bool(self.prompt_ids) and is_plain and has_room

    def resume(self, folder: ModelFolder) -> None:
        """The next attempt goes on after the text that was sent."""
        self.ids = folder.tokens_of(self.text, self.ids)
        self.before = tuple(self.ids)


def calls_of(request: GenerateRequest, prompts: Sequence[tuple[Prompt, frozenset[int]]]) -> list[Call]:
    """prompts: as the server takes them, with the tokens that end each answer besides the model's own.

    Choice i of a prompt gets what a request for one choice gets with the seed + i.
    """
    first = request.sampling.seed
    return [
        Call(request, prompt, place * request.n + i, None if first is None else first + i, end_ids)
        for place, (prompt, end_ids) in enumerate(prompts)
        for i in range(request.n)
    ]
