"""The engine: one thread that owns every sequence and block, and the loop that it runs.

Whatever happens to a request comes as a message into the same loop, between two steps: so nothing here needs a lock.
Knows no event loop and no client: it publishes what each step brought, all at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import TypeVar

import numpy as np
import structlog
from typing_extensions import assert_never

from backends.engine.candidates import NO_TOKEN, Mask
from backends.engine.choice import Choice
from backends.engine.device_sampling import device_samplings
from backends.engine.grammar import Grammar
from backends.engine.job import Job, Member
from backends.engine.messages import Cancel, Message, Publish, Report, Stop, Submit
from backends.engine.runner import Floats, Interruptible, Launched, ModelRunner
from backends.engine.sampler import Sampler
from backends.engine.scheduler import Chunk, Plan, Scheduler
from backends.engine.sequence import Sequence
from backends.engine.step import Ready, Sampled, Wanted, prefill_row
from backends.errors import BackendFailed
from backends.events import Event, Finished
from backends.request import Intent

PUBLISH_EVERY_S = 0.016
"""Tokens that come faster than a screen is drawn are told together: to wake 32 readers costs the interpreter about a
tenth of a small model's step, which neither thread can spare the other."""

FEW_READERS = 16
"""More of them are told less often in proportion, so that telling takes no more of the time."""

NOTHING_LEFT = "no token can come next: all are banned, or the model's logits are no numbers"

_Result = TypeVar("_Result")

log = structlog.get_logger()


class _GaveWay(Exception):
    """A call of the runner, to a completion."""


@dataclass(frozen=True, slots=True)
class _Flight:
    """A decode under way, of these sequences; a token follows for the first num_ready of them."""

    sequences: list[Sequence]
    num_ready: int
    launched: Launched


class EngineCore:
    """publish and broke are called from the engine's thread; broke, when it can't go on, with the cause.

    publish is called at once for what someone waits for (progress through a prompt, a first token, an end, an error),
    and for tokens in between at the next step that ends publish_every_s after the last call, or later for many readers.
    members: who each sequence belongs to. step_began_at: None between steps. Others may look at these two.
    """

    def __init__(
        self,
        runner: ModelRunner,
        scheduler: Scheduler,
        publish: Publish,
        broke: Callable[[Exception], None],
        clock: Callable[[], float] = time.monotonic,
        publish_every_s: float = PUBLISH_EVERY_S,
    ) -> None:
        self.scheduler = scheduler
        self.members: dict[Sequence, Member] = {}
        self.step_began_at: float | None = None
        self._runner = runner
        self._publish_reports = publish
        self._broke = broke
        self._clock = clock
        self._publish_every_s = publish_every_s
        self._inbox: SimpleQueue[Message] = SimpleQueue()
        self._sampler = Sampler()
        self._held: list[Sampled] = []  # tokens that were chosen and not yet told
        self._reports: dict[Job, Report] = {}
        self._published_at = 0.0
        self._is_stopping = False
        self._is_typed_at = False  # a completion has come
        self._gives_way = False  # the runner's call under way, to a completion
        self._has_given_way = False  # the one before it that might have
        if isinstance(runner, Interruptible):
            runner.between_parts = self._look_up
        self._thread = threading.Thread(target=self._loop, name="engine", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def send(self, message: Message) -> None:
        """From any thread; heeded before the next step."""
        self._inbox.put(message)
        if isinstance(message, Submit) and message.job.is_completion:
            self._is_typed_at = True

    def join(self, timeout_s: float) -> bool:
        """Has the thread ended? Waits for so long at most."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _loop(self) -> None:
        try:
            while not self._is_stopping:
                self._rest_if_idle()
                self.step_began_at = self._clock()
                self.step()
                self.step_began_at = None
        except Exception as error:  # a bug, not a request's fault: nothing that follows could be trusted
            self._broke(error)
        finally:
            self._runner.close()

    def _rest_if_idle(self) -> None:
        """Raises BlockLeak when something was left behind."""
        if self.scheduler.is_idle:
            self.check()
            self._heed(self._inbox.get())

    def check(self) -> None:
        self.scheduler.check()
        if self.scheduler.is_idle and self.members:
            raise RuntimeError(f"{len(self.members)} sequences are neither running nor waiting")

    def step(self) -> None:
        self._admit()
        if any(choice.is_over for sampled in self._held for choice in sampled.choices):
            self._settle_ends()
        plan = self.scheduler.schedule()
        ready = self._prefill_all(plan)
        if self._runner.traits.is_asynchronous:  # those whose prompt is done join the decode, and nobody waits for it
            self._hold(self._sample(ready))
            ready = Ready()
        launched = self._launch(self._decodable(plan))
        self._settle()  # what is held of tokens before these, while a device works on them
        self._read(launched, ready)
        self._hold(self._sample(ready))
        if not self._runner.traits.is_asynchronous:
            self._settle()
        self._publish()

    # admit

    def _admit(self) -> None:
        self._is_typed_at = False
        while not self._inbox.empty():  # nobody else takes from it
            self._heed(self._inbox.get())

    def _heed(self, message: Message) -> None:
        match message:
            case Submit():
                for choice in message.job.choices:
                    self.members[choice.sequence] = Member(message.job, choice)
                    self.scheduler.add(choice.sequence)
            case Cancel():
                self._forget(message.job)
                self._reports.pop(message.job, None)
            case Stop():
                self._is_stopping = True
            case _:
                assert_never(message)

    def _forget(self, job: Job) -> None:
        for choice in job.choices:
            self.scheduler.remove(choice.sequence)
            self.members.pop(choice.sequence, None)

    # run

    def _prefill_all(self, plan: Plan) -> Ready:
        """At most one call of each kind in a step, so that a runner that can't mix them never has to."""
        ready = Ready()
        if plan.chunks:
            self._settle()
        chunks = [chunk for chunk in plan.chunks if chunk.sequence in self.members]
        if not chunks:
            return ready
        is_typed = chunks[0].sequence.intent is Intent.COMPLETION  # and so are all
        if self._runner.traits.is_asynchronous or not is_typed:
            self._tell()  # before a call that may be long; who is told would take time from a keystroke's
        try:
            self._prefill(chunks, ready, gives_way=not is_typed)
        except _GaveWay:
            return ready
        except Exception as error:
            self._fail((chunk.sequence for chunk in chunks), error)
        return ready

    def _prefill(self, chunks: SequenceOf[Chunk], ready: Ready, *, gives_way: bool) -> None:
        began_at = self._clock()
        for chunk in chunks:
            self.members[chunk.sequence].choice.stopwatch.schedule(began_at)
        rows = [prefill_row(chunk) for chunk in chunks]
        found = self._call(partial(self._runner.prefill, rows), gives_way=gives_way)
        now = self._clock()
        for chunk, logits in zip(chunks, found, strict=True):
            self._note_chunk(chunk, logits, now)
            if chunk.is_last and chunk.sequence in self.members:
                ready.sequences.append(chunk.sequence)
                ready.logits.append(logits[-1:])

    def _note_chunk(self, chunk: Chunk, logits: Floats, now: float) -> None:
        if not chunk.sequence.generated:
            self.members[chunk.sequence].choice.read_prompt(chunk.sequence.num_computed, logits)
        self.scheduler.advance(chunk.sequence, chunk.num_tokens)
        self._note_prompt(chunk.sequence, now)

    def _note_prompt(self, sequence: Sequence, now: float) -> None:
        if not sequence.generated:  # or it was preempted, and all of this has been said before
            self._report(sequence, self.members[sequence].choice.take_prompt(now), is_urgent=True)

    def _decodable(self, plan: Plan) -> list[Sequence]:
        """Those of whom one token is to be evaluated, without those that have failed in this step."""
        if not self._runner.traits.is_asynchronous:
            return [sequence for sequence in plan.decodes if sequence in self.members]
        evaluated = () if plan.postpones_decodes else plan.chunks
        sequences = [*plan.decodes, *(each.sequence for each in evaluated if not each.sequence.is_prefilling)]
        return [each for each in sequences if each in self.members and not self.members[each].choice.is_over]

    def _launch(self, sequences: list[Sequence]) -> _Flight | None:
        if not sequences:
            return None
        going_on = [each for each in sequences if each.is_fed and each.num_pending > 1]
        if going_on:  # last, so that nobody's logits need to be copied
            sequences = [each for each in sequences if each not in going_on] + going_on
        choices = [self.members[sequence].choice for sequence in sequences]
        for choice in choices:
            if choice.sequence.is_fed:
                choice.stopwatch.schedule(self._clock())
        try:
            launched = self._runner.launch(
                np.array(_inputs(sequences), np.int32),
                np.array([sequence.num_computed for sequence in sequences], np.int32),
                [sequence.block_table for sequence in sequences],
                [sequence.slot for sequence in sequences],
                device_samplings(choices, self._runner.traits.sampling),
            )
        except Exception as error:
            self._settle()  # what they have said already is told first
            self._fail(sequences, error)
            return None
        return _Flight(sequences, len(sequences) - len(going_on), launched)

    def _read(self, flight: _Flight | None, ready: Ready) -> None:
        """Waits. What came for a sequence that has ended meanwhile is dropped."""
        if flight is None:
            return
        try:
            decoded = self._call(flight.launched, gives_way=True)
        except _GaveWay:
            return
        except Exception as error:
            self._fail(flight.sequences, error)
            return
        fed = [sequence for sequence in flight.sequences if sequence.is_fed]
        for sequence in flight.sequences:
            if sequence in self.members:
                self.scheduler.advance(sequence, 1)
        for sequence in fed:
            if sequence in self.members and not sequence.is_fed:
                self._note_prompt(sequence, self._clock())
        ready.sequences += flight.sequences[: flight.num_ready]
        if decoded.logits is not None:
            ready.logits.append(decoded.logits[: flight.num_ready])
        if decoded.tokens is not None:
            ready.tokens = decoded.tokens[: flight.num_ready]

    def _call(self, call: Callable[[], _Result], *, gives_way: bool) -> _Result:
        """One of the runner's. Raises _GaveWay, and what the runner does. gives_way: to a completion that comes in the
        middle; but of two such calls at most one does, so that everybody gets on."""
        self._gives_way = gives_way and not self._has_given_way
        if gives_way:
            self._has_given_way = False
        return call()

    def _look_up(self) -> None:
        if self._is_typed_at and self._gives_way:
            self._has_given_way = True
            raise _GaveWay

    # sample

    def _sample(self, ready: Ready) -> Sampled:
        if ready.sequences:
            ready = ready.only(self.members.__contains__)  # without those that have failed with another call
        if not ready.sequences:
            return Sampled()
        choices = [self.members[sequence].choice for sequence in ready.sequences]
        if ready.tokens is not None:
            return Sampled(choices, ready.tokens.tolist(), [None] * len(choices))
        (logits,) = ready.logits
        try:
            masks = [None if choice.grammar is None else self._mask(choice.grammar, choice) for choice in choices]
            wanted = Wanted.of(choices, logits)
            tokens = self._sampler.sample(logits, [choice.sampler_row for choice in choices], masks)
            return Sampled(choices, tokens.tolist(), wanted.fill(tokens))
        except Exception as error:
            self._fail(ready.sequences, error)
            return Sampled()

    def _mask(self, grammar: Grammar, choice: Choice) -> Mask | None:
        try:
            return grammar.mask()
        except Exception as error:  # nobody else's fault
            self._fail([choice.sequence], error)
            return None

    # settle

    def _hold(self, sampled: Sampled) -> None:
        """The sequences go on with these tokens, whatever becomes of them."""
        if not sampled.choices:
            return
        for choice, token_id in zip(sampled.choices, sampled.tokens, strict=True):
            if token_id == NO_TOKEN:
                self._fail([choice.sequence], RuntimeError(NOTHING_LEFT))
            else:
                choice.accept(token_id)
        self._held.append(sampled)

    def _settle(self) -> None:
        """What is held becomes text, ends and reports, and is told."""
        if self._held:
            held, self._held = self._held, []
            for sampled in held:
                self._postprocess(sampled)
            self._publish()

    def _settle_ends(self) -> None:
        """They make room before others are scheduled. What is held of others can wait until a device works again."""
        split = [sampled.split(_is_over) for sampled in self._held]
        self._held = [others for _, others in split]
        for ends, _ in split:
            self._postprocess(ends)

    def _postprocess(self, sampled: Sampled) -> None:
        now = self._clock()
        for choice, token_id, found in zip(sampled.choices, sampled.tokens, sampled.logprobs, strict=True):
            sequence = choice.sequence
            if sequence not in self.members:  # another choice of its request has just failed
                continue
            try:
                self._report(sequence, choice.take(token_id, found, now))
            except Exception as error:
                self._fail([sequence], error)

    # publish

    def _report(self, sequence: Sequence, events: SequenceOf[Event], *, is_urgent: bool = False) -> None:
        if not events:
            return
        job = self.members[sequence].job
        report = self._report_of(job)
        report.events += events
        report.is_urgent |= is_urgent
        if isinstance(events[-1], Finished):
            self.scheduler.remove(sequence)
            del self.members[sequence]
            job.num_open -= 1
            report.is_last = job.num_open == 0
            report.is_urgent = True

    def _fail(self, sequences: Iterable[Sequence], error: Exception) -> None:
        """Ends the requests that these sequences belong to, and no others."""
        for sequence in sequences:
            if sequence in self.members:
                job = self.members[sequence].job
                log.error("request failed", request=job.request_id, exc_info=error)
                self._forget(job)
                report = self._report_of(job)
                report.error, report.is_last, report.is_urgent = _failure(error), True, True

    def _report_of(self, job: Job) -> Report:
        report = self._reports.get(job)
        if report is None:
            report = self._reports[job] = Report(job)
        return report

    def _publish(self) -> None:
        pause_s = self._publish_every_s * max(1.0, len(self._reports) / FEW_READERS)
        if self._clock() - self._published_at >= pause_s:
            self._tell()
        else:
            self._tell_of([report for report in self._reports.values() if report.is_urgent])

    def _tell(self) -> None:
        self._published_at = self._clock()
        self._tell_of(list(self._reports.values()))

    def _tell_of(self, reports: SequenceOf[Report]) -> None:
        if reports:
            for report in reports:
                del self._reports[report.job]
            self._publish_reports(reports)


def _inputs(sequences: SequenceOf[Sequence]) -> list[int]:
    """The token of each that is evaluated next."""
    return [each.token_at(each.num_computed) if each.is_fed else each.generated[-1] for each in sequences]


def _is_over(choice: Choice) -> bool:
    return choice.is_over


def _failure(error: Exception) -> BackendFailed:
    return BackendFailed(f"the engine failed this request: {type(error).__name__}: {error}")
