"""One choice of a request while it is generated: what each token becomes, and when the answer ends.

Owns the choice's text, tool calls, grammar and stopwatch. Knows nothing of blocks, batches or other choices. Reads no
clock: it is told the time, in seconds on any clock that only goes forward.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field

from backends.engine.detokenizer import Detokenizer, Piece
from backends.engine.grammar import Grammar
from backends.engine.logprobs import Logprobs
from backends.engine.mean_pooling import MeanPooling
from backends.engine.parsers import OutputParser
from backends.engine.runner import Floats
from backends.engine.sampler_row import SamplerRow
from backends.engine.sequence import Sequence
from backends.engine.token_logprobs import PromptLogprobs, token_logprob
from backends.engine.tokenizer import Tokenizer
from backends.events import Event, Finished, FinishReason, Prefilled, Started, Text, Timings, TokenLogprob, Usage


@dataclass(frozen=True, slots=True)
class Ending:
    """What ends an answer, besides its length. end_ids: tokens by which the model ends it. stop_ids: the request's own,
    and the stop string that each of them is, if any. deadline_s: counted from the first token."""

    end_ids: frozenset[int]
    stop_ids: Mapping[int, str | None] = field(default_factory=dict)
    includes_stop: bool = False
    min_tokens: int = 0
    deadline_s: float | None = None


@dataclass(slots=True)
class Stopwatch:
    accepted_at: float = 0.0
    scheduled_at: float | None = None
    answered_at: float | None = None  # when the first token came

    def schedule(self, now: float) -> None:
        """Tokens of it are about to be evaluated, perhaps not for the first time."""
        if self.scheduled_at is None:
            self.scheduled_at = now

    def read(self, now: float) -> Timings:
        scheduled_at = now if self.scheduled_at is None else self.scheduled_at
        answered_at = now if self.answered_at is None else self.answered_at
        return Timings(
            queue_s=scheduled_at - self.accepted_at,
            prefill_s=answered_at - scheduled_at,
            decode_s=now - answered_at,
        )

    def is_over(self, deadline_s: float, now: float) -> bool:
        return self.answered_at is not None and now - self.answered_at >= deadline_s


@dataclass(slots=True, eq=False)
class Choice:
    """num_top_logprobs: None for no log-probabilities. is_ranked: its mean log-probability will be asked for. pooling:
    where an embedding of the prompt is wanted, and no text."""

    index: int
    sequence: Sequence
    sampler_row: SamplerRow
    detokenizer: Detokenizer
    parser: OutputParser
    ending: Ending
    tokenizer: Tokenizer
    prompt_text: str
    echoes: bool = False
    grammar: Grammar | None = None
    num_top_logprobs: int | None = None
    prompt_logprobs: PromptLogprobs | None = None
    pooling: MeanPooling | None = None
    is_ranked: bool = False
    sum_logprobs: float = 0.0
    stop_text: str | None = None
    stopwatch: Stopwatch = field(default_factory=Stopwatch)
    wants_logprobs: bool = field(init=False)
    _held_logprobs: deque[TokenLogprob] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.wants_logprobs = self.is_ranked or self.num_top_logprobs is not None

    @property
    def mean_logprob(self) -> float:
        return self.sum_logprobs / max(1, len(self.sequence.generated))

    def open(self) -> list[Event]:
        """The first events: they wait for the prompt's log-probabilities, where these are wanted."""
        prompt = self.sequence.prompt
        logprobs = () if self.prompt_logprobs is None else self.prompt_logprobs.entries
        started = Started(self.index, len(prompt), self.prompt_text, tuple(prompt.tolist()), logprobs)
        return [started, Text(self.index, self.prompt_text)] if self.echoes else [started]

    def read_prompt(self, start: int, logits: Floats) -> None:
        """What a prefill of a chunk that began at token `start` gave: logits, or the hidden states in their place."""
        if self.pooling is not None:
            self.pooling.add(start, logits)
        if self.prompt_logprobs is not None and self.sequence.wants_all_logits:
            self.prompt_logprobs.add(start, logits)

    def take_prompt(self, now: float) -> list[Event]:
        """More of the prompt has been evaluated, perhaps the last of it."""
        events: list[Event] = []
        is_last = self.sequence.num_pending == 0
        if self.prompt_logprobs is None:
            events.append(self._progress(now))
        elif is_last:
            events += self.open()
        if is_last and self.sequence.max_tokens == 0:
            events += self.finish("length", now)
        return events

    def _progress(self, now: float) -> Prefilled:
        sequence = self.sequence
        elapsed_s = self.stopwatch.read(now).prefill_s
        return Prefilled(self.index, len(sequence.prompt), sequence.num_cached or 0, sequence.num_computed, elapsed_s)

    def accept(self, token_id: int) -> None:
        """The next token is this one. All that the token after it depends on, but for the grammar."""
        self.sequence.append(token_id)
        self.sampler_row.accept(token_id)

    @property
    def is_over(self) -> bool:
        """Does the last token that was accepted end the answer? Others may too, by the text that they complete."""
        generated = self.sequence.generated
        if not generated:
            return False
        is_stop = generated[-1] in self.ending.stop_ids and len(generated) > self.ending.min_tokens
        return is_stop or generated[-1] in self.ending.end_ids or len(generated) >= self.sequence.max_tokens

    def take(self, token_id: int, logprobs: Logprobs | None, now: float) -> SequenceOf[Event]:
        """What the token accepted last becomes; the last event is a Finished when the answer ends with it."""
        if self.stopwatch.answered_at is None:
            self.stopwatch.answered_at = now
        if logprobs is not None:
            self._note_logprobs(token_id, logprobs)
        ending = self.ending
        if token_id in ending.end_ids:
            return self.finish("end", now)
        if token_id in ending.stop_ids and len(self.sequence.generated) > ending.min_tokens:
            return self._stop_at(token_id, now)
        if self.grammar is not None:
            self.grammar.accept(token_id)
        events = self._feed(self.detokenizer.push(token_id))
        reason = self._reason(now)
        return events if reason is None else [*events, *self.finish(reason, now)]

    def _reason(self, now: float) -> FinishReason | None:
        if self.detokenizer.stop_text is not None:
            return "stop_string"
        if self.grammar is not None and self.grammar.is_finished:
            return "end"
        if len(self.sequence.generated) >= self.sequence.max_tokens:
            return "length"
        deadline_s = self.ending.deadline_s
        return "length" if deadline_s is not None and self.stopwatch.is_over(deadline_s, now) else None

    def _stop_at(self, token_id: int, now: float) -> list[Event]:
        self.stop_text = self.ending.stop_ids[token_id]
        events = [*self._flush()]
        if self.ending.includes_stop and self.detokenizer.stop_text is None:
            text = self.stop_text or self.tokenizer.texts[token_id] or ""
            events += self._feed(Piece(text, (token_id,)))
        return events + self._end("stop_string", now)

    def finish(self, reason: FinishReason, now: float) -> list[Event]:
        """Everything that was held back, then the end."""
        events = [*self._flush()]
        return events + self._end("stop_string" if self.detokenizer.stop_text is not None else reason, now)

    def _flush(self) -> SequenceOf[Event]:
        """May complete a stop string."""
        if self.detokenizer.stop_text is not None:
            return []
        return self._feed(self.detokenizer.flush())

    def _end(self, reason: FinishReason, now: float) -> list[Event]:
        events: list[Event] = [*self.parser.finish()]
        if self.parser.num_calls and reason == "end":
            reason = "tool_calls"
        usage = Usage(
            prompt_tokens=len(self.sequence.prompt),
            completion_tokens=len(self.sequence.generated),
            cached_tokens=self.sequence.num_cached or 0,
            reasoning_tokens=self.parser.num_reasoning_tokens,
        )
        stop_text = self.detokenizer.stop_text or self.stop_text
        return [*events, Finished(self.index, reason, usage, self.stopwatch.read(now), stop_text)]

    def _feed(self, piece: Piece) -> SequenceOf[Event]:
        if not piece.text and not piece.token_ids:
            return []
        logprobs = self._logprobs_of(piece.token_ids) if self._held_logprobs else ()
        return self.parser.feed(piece, logprobs)

    def _note_logprobs(self, token_id: int, logprobs: Logprobs) -> None:
        self.sum_logprobs += logprobs.chosen
        if self.num_top_logprobs is not None:
            self._held_logprobs.append(token_logprob(self.tokenizer, token_id, logprobs))

    def _logprobs_of(self, token_ids: tuple[int, ...]) -> list[TokenLogprob]:
        """In step with the pieces; those of tokens that became no text are dropped."""
        logprobs: list[TokenLogprob] = []
        for token_id in token_ids:
            while self._held_logprobs[0].id != token_id:
                self._held_logprobs.popleft()
            logprobs.append(self._held_logprobs.popleft())
        return logprobs
