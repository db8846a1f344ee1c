"""The engine's loop: what a step does with requests that come, go, fail and run out of blocks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from collections.abc import Sequence as SequenceOf
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.engine.blocks import BlockLeak, BlockManager
from backends.engine.choice import Choice, Ending
from backends.engine.core import EngineCore
from backends.engine.detokenizer import Detokenizer
from backends.engine.job import Job
from backends.engine.logit_bias import LogitBias
from backends.engine.mean_pooling import MeanPooling
from backends.engine.messages import Cancel, Report, Stop, Submit
from backends.engine.parsers import PlainParser
from backends.engine.resolved_sampling import ResolvedSampling
from backends.engine.runner import Traits
from backends.engine.sampler_row import SamplerRow
from backends.engine.scheduler import Scheduler
from backends.engine.sequence import Sequence, SequenceState
from backends.engine.token_logprobs import PromptLogprobs
from backends.errors import BackendFailed
from backends.events import Event, Finished, Prefilled, Started, Text
from backends.fair_queue import QUANTUM
from backends.request import Intent, Sampling
from tests.backends.engine.card_runner import CardRunner
from tests.backends.engine.fake_runner import FakeRunner
from tests.backends.engine.toy_tokenizers import byte_level
from tests.fakes.card import fake_card

BLOCK = 4
TOKENIZER = byte_level(["<end>"], settings={"eos_token": "<end>"})
EOS = min(TOKENIZER.eos_token_ids)
LETTERS = dict.fromkeys(TOKENIZER.encode("abcdefgh", add_special=False), 100.0)
"""Likes that make every token text."""
GREEDY = ResolvedSampling.of(Sampling(temperature=0), {})


class Bench:
    """An engine that is stepped by hand, and what it published. new_runner: of so many sequences. meanwhile: comes one
    by one during the calls of a runner that computes in the engine's thread."""

    new_runner: Callable[[int], FakeRunner | CardRunner]

    def __init__(
        self,
        *,
        num_blocks: int = 200,
        max_batch_size: int = 8,
        step_tokens: int = 64,
        publish_every_s: float = 0.0,
    ) -> None:
        self.runner = self.new_runner(max_batch_size)
        self.runner.allocate_kv(num_blocks, BLOCK)
        self.runner.likes = {EOS: -100.0}
        self.scheduler = Scheduler(
            BlockManager(num_blocks),
            block_size=BLOCK,
            max_batch_size=max_batch_size,
            step_tokens=max(step_tokens, 8 * self.runner.traits.padding.smallest),
            traits=self.runner.traits,
        )
        self.published: list[SequenceOf[Report]] = []
        self.broken: list[Exception] = []
        self.now = 0.0
        self.core = EngineCore(
            self.runner,
            self.scheduler,
            self.published.append,
            self.broken.append,
            clock=lambda: self.now,
            publish_every_s=publish_every_s,
        )
        self.meanwhile: list[Job] = []
        if isinstance(self.runner, FakeRunner):
            self._look_up, self.runner.between_parts = self.runner.between_parts, self._between_parts

    def _between_parts(self) -> None:
        if self.meanwhile:
            self.submit(self.meanwhile.pop(0))
        self._look_up()

    def submit(self, *jobs: Job) -> None:
        for job in jobs:
            self.core.send(Submit(job))

    def step(self, num_steps: int = 1) -> None:
        for _ in range(num_steps):
            self.core.step()

    def finish(self, max_steps: int = 2000) -> None:
        for _ in range(max_steps):
            self.core.step()
            if self.scheduler.is_idle:
                self.core.check()
                return
        raise AssertionError("the engine never comes to rest")

    def reports_of(self, job: Job) -> list[Report]:
        return [report for batch in self.published for report in batch if report.job is job]

    def events_of(self, job: Job) -> list[Event]:
        return [event for report in self.reports_of(job) for event in report.events]

    def error_of(self, job: Job) -> BackendFailed | None:
        return next((report.error for report in self.reports_of(job) if report.error is not None), None)


KINDS = ["in-thread", "asynchronous", "card"]
not_on_a_card = pytest.mark.parametrize("every_kind_of_runner", KINDS[:2], indirect=True)
"""What a Generator doesn't give: embeddings, logits of a whole prompt, and chunks of any length."""


@pytest.fixture(params=KINDS, autouse=True)
def every_kind_of_runner(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """All of this holds whether or not the engine goes on while a device works, and on a Tenstorrent card."""

    def fake(_self: Bench, max_batch_size: int) -> FakeRunner:
        runner = FakeRunner(TOKENIZER.vocab_size, max_batch_size=max_batch_size)
        runner.traits = Traits(is_asynchronous=request.param == "asynchronous")
        return runner

    def on_a_card(_self: Bench, max_batch_size: int) -> CardRunner:
        return CardRunner(card, TOKENIZER.vocab_size, 256, max_batch_size)

    with fake_card() as card:
        monkeypatch.setattr(Bench, "new_runner", on_a_card if request.param == "card" else fake, raising=False)
        yield


def choice(
    prompt: SequenceOf[int], *, index: int = 0, max_tokens: int = 8, ending: Ending | None = None, **options: Any
) -> Choice:
    fields = ("leader", "uses_cache", "wants_all_logits", "wants_hidden_states", "intent", "client")
    of_sequence = {name: options.pop(name) for name in fields if name in options}
    ids = np.array(prompt, np.int32)
    ending = ending or Ending(TOKENIZER.eos_token_ids)
    return Choice(
        index=index,
        sequence=Sequence(ids, max_tokens, BLOCK, **of_sequence),
        sampler_row=SamplerRow(options.pop("sampling", GREEDY), ids, seed=0),
        detokenizer=Detokenizer(TOKENIZER),
        parser=PlainParser(index),
        ending=ending,
        tokenizer=TOKENIZER,
        prompt_text=TOKENIZER.decode(prompt),
        **options,
    )


def job(prompt: SequenceOf[int], **options: Any) -> Job:
    return Job("request", [choice(prompt, **options)])


def generated(each: Job) -> list[int]:
    return each.choices[0].sequence.generated


def end(events: SequenceOf[Event]) -> Finished:
    last = events[-1]
    assert isinstance(last, Finished)
    return last


class BrokenGrammar:
    """Fails as a grammar does that grew beyond its bounds."""

    is_finished = False

    def mask(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        raise RuntimeError("the grammar is too large")

    def accept(self, token_id: int) -> None: ...


# answers


def test_an_answer_is_what_the_model_alone_gives() -> None:
    bench = Bench()
    asked = job([1, 2, 3, 4, 5, 6, 7], max_tokens=20)
    bench.submit(asked)
    bench.finish()
    assert generated(asked) == bench.runner.answer_to([1, 2, 3, 4, 5, 6, 7], 20)
    assert end(bench.events_of(asked)).reason == "length"


def test_32_at_once_each_get_what_they_would_get_alone() -> None:
    bench = Bench(num_blocks=2000, max_batch_size=32, step_tokens=500)
    jobs = [job(range(i, i + 3 * i + 1), max_tokens=20 + i) for i in range(32)]
    bench.submit(*jobs)
    bench.finish()
    for i, each in enumerate(jobs):
        assert generated(each) == bench.runner.answer_to(range(i, i + 3 * i + 1), 20 + i)
    assert max(num_rows for name, num_rows in bench.runner.calls if name == "decode") == 32


def test_those_who_come_later_join_the_batch_at_the_next_step() -> None:
    bench = Bench()
    first, second = job([1, 2], max_tokens=10), job([3, 4], max_tokens=3)
    bench.submit(first)
    bench.step(3)
    bench.submit(second)
    bench.step(2)
    assert bench.runner.calls[-1] == ("decode", 2)
    bench.finish()
    assert generated(second) == bench.runner.answer_to([3, 4], 3)


def test_a_short_prompt_beside_a_long_one_is_answered_within_two_steps() -> None:
    bench = Bench(num_blocks=600, step_tokens=256)
    long, short = job([5] * 2000), job([6] * 20)
    bench.runner.likes = LETTERS
    bench.submit(long)
    bench.step(2)
    bench.submit(short)
    bench.step(2)
    assert any(isinstance(event, Text) for event in bench.events_of(short))
    assert long.choices[0].sequence.is_prefilling


def test_preempted_answers_equal_undisturbed_ones() -> None:
    bench = Bench(num_blocks=9)
    jobs = [job(range(i, i + 6), max_tokens=20) for i in (0, 100, 200)]
    bench.submit(*jobs)
    num_waiting_again = 0
    while not bench.scheduler.is_idle or not bench.published:
        bench.step()
        num_waiting_again += sum(bool(each.generated) for each in bench.scheduler.waiting)
    assert num_waiting_again > 0
    for i, each in zip((0, 100, 200), jobs, strict=True):
        assert generated(each) == bench.runner.answer_to(range(i, i + 6), 20)
        first, *others = bench.events_of(each)
        assert isinstance(first, Prefilled)
        assert not any(isinstance(event, Prefilled) for event in others), "progress was told again"


@settings(max_examples=60, deadline=None)
@given(data=st.data(), num_blocks=st.integers(8, 14), step_tokens=st.integers(4, 24))
def test_whatever_comes_and_goes_the_finished_answers_are_right(
    data: st.DataObject, num_blocks: int, step_tokens: int
) -> None:
    """Prompts begin alike, blocks are few, requests come and are cancelled at any time."""
    bench = Bench(num_blocks=num_blocks, max_batch_size=4, step_tokens=step_tokens)
    jobs: list[Job] = []
    cancelled: set[Job] = set()
    for _ in range(data.draw(st.integers(1, 25))):
        match data.draw(st.sampled_from(["submit", "submit", "cancel", "type", "step", "step", "step"])):
            case "submit":
                prompt = data.draw(st.lists(st.sampled_from([5, 5, 5, 6]), min_size=1, max_size=16))
                max_tokens, uses_cache = data.draw(st.integers(0, 16)), data.draw(st.booleans())
                intent = data.draw(st.sampled_from(Intent))
                jobs.append(job(prompt, max_tokens=max_tokens, uses_cache=uses_cache, intent=intent))
                bench.submit(jobs[-1])
            case "type" if isinstance(bench.runner, FakeRunner):
                prompt = data.draw(st.lists(st.sampled_from([5, 6]), min_size=1, max_size=16))
                jobs.append(job(prompt, max_tokens=4, intent=Intent.COMPLETION))
                bench.meanwhile.append(jobs[-1])
            case "cancel" if submitted := [each for each in jobs if each not in bench.meanwhile]:
                cancelled.add(data.draw(st.sampled_from(submitted)))
                for each in cancelled:
                    bench.core.send(Cancel(each))
            case _:
                bench.step()
                bench.core.check()
    bench.submit(*bench.meanwhile)
    bench.meanwhile.clear()
    bench.finish()
    assert bench.scheduler.blocks.num_owned == 0
    for each in jobs:
        sequence = each.choices[0].sequence
        expected = bench.runner.answer_to(sequence.prompt.tolist(), sequence.max_tokens)
        assert generated(each) == expected[: len(generated(each))]
        assert each in cancelled or len(generated(each)) == sequence.max_tokens


def test_an_agents_few_new_tokens_cost_no_prefill_where_it_would_be_padded() -> None:
    bench = Bench()
    chats = [job([i], max_tokens=60) for i in range(4)]
    bench.submit(*chats)
    bench.step(5)
    bench.runner.calls.clear()
    asked, read = (job([9, 8, 7], max_tokens=max_tokens, intent=Intent.AGENT) for max_tokens in (5, 0))
    bench.submit(asked, read)
    bench.finish()
    is_padded = bench.runner.traits.padding.smallest > 0
    assert ("prefill" in dict(bench.runner.calls)) != is_padded
    assert generated(asked) == bench.runner.answer_to([9, 8, 7], 5)
    for each in (asked, read):
        assert [event.processed for event in bench.events_of(each) if isinstance(event, Prefilled)] == [3]
        assert end(bench.events_of(each)).reason == "length"
    for i, each in enumerate(chats):
        assert generated(each) == bench.runner.answer_to([i], 60)


def typed(number: int = 0, **options: Any) -> Job:
    return job([number, 2, 3], intent=Intent.COMPLETION, **options)


@not_on_a_card
@pytest.mark.parametrize("num_steps", [0, 3])
def test_a_keystroke_does_not_wait_for_the_call_under_way(num_steps: int) -> None:
    """A prefill or a decode, of which nothing counts then; and it is made again."""
    bench = Bench()
    agents = [job([i] * 8, max_tokens=20, intent=Intent.AGENT) for i in range(4)]
    bench.submit(*agents)
    bench.step(num_steps)
    num_generated, keystroke = [len(generated(each)) for each in agents], typed()
    bench.meanwhile.append(keystroke)
    bench.step(2)
    assert [len(generated(each)) for each in agents] == num_generated
    assert generated(keystroke)
    bench.finish()
    for i, each in enumerate(agents):
        assert generated(each) == bench.runner.answer_to([i] * 8, 20)
    assert generated(keystroke) == bench.runner.answer_to([0, 2, 3], 8)


@not_on_a_card
def test_every_other_call_is_whole_however_many_keystrokes_come() -> None:
    bench = Bench(num_blocks=1000)
    agent = job([1, 2], max_tokens=20, intent=Intent.AGENT)
    bench.submit(agent)
    bench.step()
    bench.runner.calls.clear()
    for number in range(2000):
        bench.meanwhile = [typed(number % 200, max_tokens=1)]
        bench.step()
        if agent.choices[0].sequence.state is SequenceState.FINISHED:
            break
    num_decodes = sum(name == "decode" for name, _ in bench.runner.calls)
    assert 19 < num_decodes <= 2 * 19
    assert generated(agent) == bench.runner.answer_to([1, 2], 20)


@not_on_a_card
@pytest.mark.parametrize(
    ("at_work", "comes"),
    [(Intent.COMPLETION, Intent.COMPLETION), (Intent.AGENT, Intent.CHAT), (Intent.CHAT, Intent.CHAT)],
)
def test_a_prefill_gives_way_to_keystrokes_alone_and_not_that_of_one(at_work: Intent, comes: Intent) -> None:
    bench = Bench()
    first, other = job([1] * 8, intent=at_work), job([2] * 8, intent=comes)
    bench.submit(first)
    bench.meanwhile.append(other)
    bench.step()
    assert generated(first)


def test_who_has_waited_for_a_token_is_told_alone_while_others_have_just_been() -> None:
    bench = Bench(publish_every_s=1000.0)
    bench.runner.likes = LETTERS
    talking, coming = job([1, 2], max_tokens=50), job([3, 4])
    bench.submit(talking)
    bench.step(4)
    bench.published.clear()
    bench.submit(coming)
    bench.step(2)
    bench.step(2)
    told = [[report.job for report in batch] for batch in bench.published]
    assert told == [[talking], [coming]]


def test_eos_ends_an_answer_and_is_no_text() -> None:
    bench = Bench()
    bench.runner.likes = {EOS: 2.5}
    asked = job([1, 2, 3], max_tokens=200)
    bench.submit(asked)
    bench.finish()
    finished = end(bench.events_of(asked))
    assert finished.reason == "end"
    assert generated(asked)[-1] == EOS
    assert finished.usage.completion_tokens == len(generated(asked))
    text = "".join(event.text for event in bench.events_of(asked) if isinstance(event, Text))
    assert text == TOKENIZER.decode(generated(asked)[:-1])


def test_no_tokens_wanted_evaluates_the_prompt_only() -> None:
    bench = Bench()
    asked = job(range(10), max_tokens=0)
    bench.submit(asked)
    bench.finish()
    assert generated(asked) == []
    assert [type(event) for event in bench.events_of(asked)] == [Prefilled, Finished]
    assert [name for name, _ in bench.runner.calls] == ["prefill"]
    assert bench.scheduler.blocks.num_cached == 2


# publishing


def test_everything_that_a_step_brought_is_published_in_one_call() -> None:
    bench = Bench()
    bench.runner.likes = LETTERS
    jobs = [job([i], max_tokens=5) for i in range(4)]
    bench.submit(*jobs)
    bench.step(5)
    assert len(bench.published) == 5
    assert all(len(batch) == 4 for batch in bench.published)
    assert [report.is_last for report in bench.published[-1]] == [True] * 4


def test_tokens_that_come_faster_than_anyone_sees_are_told_together() -> None:
    bench = Bench(publish_every_s=0.008)
    bench.runner.likes = LETTERS
    asked = job([1, 2, 3], max_tokens=20)
    bench.submit(asked)
    while not bench.scheduler.is_idle or not bench.published:
        bench.step()
        bench.now += 0.003
    texts = [sum(isinstance(event, Text) for event in report.events) for report in bench.reports_of(asked)]
    assert texts == [1, 3, 3, 3, 3, 3, 3, 1], "the first and the last come at once"


def test_many_readers_are_told_less_often() -> None:
    bench = Bench(publish_every_s=0.008, max_batch_size=32)
    bench.runner.likes = LETTERS
    crowd = [job([number, 2, 3], max_tokens=20) for number in range(32)]
    bench.submit(*crowd)
    bench.step(4)  # all have begun
    bench.published.clear()
    while not any(report.is_last for batch in bench.published for report in batch):
        bench.step()
        bench.now += 0.004
    texts = [len(batch[-1].events) for batch in bench.published]
    assert texts[1:-1] == [4] * len(texts[1:-1]) != [], "every 16 ms rather than every 8"


def test_tokens_are_told_before_another_prompt_is_read() -> None:
    bench = Bench(publish_every_s=1000.0)
    bench.runner.likes = LETTERS
    first = job([1, 2], max_tokens=50)
    bench.submit(first)
    bench.step(4)
    assert len(bench.reports_of(first)) == 1
    num_generated = len(generated(first))
    bench.submit(job([3, 4]))
    bench.runner.faults["prefill"] = [ValueError("published before this")]
    bench.step()
    before = bench.reports_of(first)[1]
    assert [type(event) for event in before.events] == [Text] * (num_generated - 1)


def test_what_was_said_before_a_failure_is_told_with_it() -> None:
    bench = Bench(publish_every_s=1000.0)
    bench.runner.likes = LETTERS
    asked = job([1, 2], max_tokens=50)
    bench.submit(asked)
    bench.step(3)
    num_generated = len(generated(asked))
    bench.runner.faults["decode"] = [ValueError("broken")]
    bench.step()
    report = bench.reports_of(asked)[-1]
    assert (len(report.events), report.is_last) == (num_generated - 1, True)
    assert report.error is not None


@not_on_a_card
def test_progress_through_a_long_prompt_is_told_chunk_by_chunk() -> None:
    bench = Bench(step_tokens=16)
    asked = job(range(40), max_tokens=1)
    bench.submit(asked)
    bench.finish()
    progress = [event for event in bench.events_of(asked) if isinstance(event, Prefilled)]
    assert [(event.processed, event.total, event.cached) for event in progress] == [
        (16, 40, 0),
        (32, 40, 0),
        (40, 40, 0),
    ]


def test_a_prompt_of_choices_is_evaluated_once() -> None:
    bench = Bench()
    leader = choice(range(18), max_tokens=4)
    followers = [choice(range(18), index=i, max_tokens=4, leader=leader.sequence) for i in (1, 2)]
    asked = Job("request", [leader, *followers])
    bench.submit(asked)
    bench.finish()
    ends = [event for event in bench.events_of(asked) if isinstance(event, Finished)]
    assert {event.index: event.usage.cached_tokens for event in ends} == {0: 0, 1: 16, 2: 16}
    assert [report.is_last for report in bench.reports_of(asked)].count(True) == 1
    assert len({tuple(each.sequence.generated) for each in asked.choices}) == 1


def test_times_of_waiting_reading_and_writing_are_told_apart() -> None:
    bench = Bench(max_batch_size=1)
    first, second = job([1, 2], max_tokens=2), job([3, 4], max_tokens=3)
    bench.submit(first, second)
    for _ in range(6):
        bench.step()
        bench.now += 1.0
    timings = end(bench.events_of(second)).timings
    waited_s = 1.0 if bench.runner.traits.is_asynchronous else 2.0  # the first had both of its tokens in one step
    assert (timings.queue_s, timings.prefill_s, timings.decode_s) == (waited_s, 0.0, 2.0)


def test_a_deadline_ends_an_answer_with_length() -> None:
    bench = Bench()
    asked = job([1, 2, 3], max_tokens=100, ending=Ending(TOKENIZER.eos_token_ids, deadline_s=3.0))
    bench.submit(asked)
    while not bench.scheduler.is_idle or not bench.published:
        bench.step()
        bench.now += 1.0
    assert end(bench.events_of(asked)).reason == "length"
    assert len(generated(asked)) == 4


@not_on_a_card
def test_prompt_logprobs_come_with_the_start_of_every_choice() -> None:
    bench = Bench(step_tokens=8)
    prompt = [*range(12)]
    shared = PromptLogprobs(np.array(prompt, np.int32), 2, TOKENIZER)
    leader = choice(prompt, max_tokens=1, prompt_logprobs=shared, wants_all_logits=True)
    follower = choice(prompt, index=1, max_tokens=1, prompt_logprobs=shared, leader=leader.sequence)
    asked = Job("request", [leader, follower])
    bench.submit(asked)
    bench.finish()
    starts = [event for event in bench.events_of(asked) if isinstance(event, Started)]
    assert [event.index for event in starts] == [0, 1]
    assert not any(isinstance(event, Prefilled) for event in bench.events_of(asked))
    for started in starts:
        assert started.prompt_logprobs[0] is None
        for place, told in enumerate(started.prompt_logprobs[1:], 1):
            logits = bench.runner.logits_after(prompt[:place]).astype(np.float64)
            expected = logits - np.log(np.exp(logits).sum())
            assert told is not None
            assert told.id == prompt[place]
            assert told.logprob == pytest.approx(expected[told.id], abs=1e-4)
            assert [each.id for each in told.top] == np.argsort(-expected)[:2].tolist()


def test_logprobs_are_the_models_own_whatever_the_sampler_does_to_the_logits() -> None:
    bench = Bench()
    asked, plain = job([1, 2, 3], max_tokens=2, num_top_logprobs=2), job([1, 2, 3], max_tokens=2, num_top_logprobs=2)
    for each in asked.choices:
        each.sampler_row = SamplerRow(
            GREEDY, each.sequence.prompt, 0, bias=LogitBias.resolve({7: 1000.0}, lambda _: [], TOKENIZER.vocab_size)
        )
    bench.submit(asked, plain)
    bench.finish()
    (biased, _), (unbiased, _) = (
        [told for event in bench.events_of(each) if isinstance(event, Text) for told in event.logprobs]
        for each in (asked, plain)
    )
    assert biased.id == 7 != unbiased.id
    assert [(each.id, each.logprob) for each in biased.top] == [(each.id, each.logprob) for each in unbiased.top]


# leaving


def test_a_cancelled_request_frees_its_blocks_at_the_next_step() -> None:
    bench = Bench()
    gone, stays = job(range(20), max_tokens=50), job([1, 2], max_tokens=50)
    bench.submit(gone, stays)
    bench.step(3)
    bench.core.send(Cancel(gone))
    bench.step()
    assert bench.scheduler.blocks.num_owned == len(stays.choices[0].sequence.block_table)
    assert bench.runner.calls[-1] == ("decode", 1)
    assert not any(report.is_last for report in bench.reports_of(gone))


def test_a_cancelled_request_leaves_the_queue_at_once() -> None:
    bench = Bench(max_batch_size=1)
    waits = job([3, 4])
    bench.submit(job([1, 2], max_tokens=50), waits)
    bench.step()
    bench.core.send(Cancel(waits))
    bench.step()
    assert bench.scheduler.waiting == []


# failing


def test_a_failing_prefill_fails_the_requests_of_that_call_alone() -> None:
    bench = Bench()
    unharmed, harmed = job([1, 2, 3], max_tokens=10), job([4, 5], max_tokens=10)
    bench.submit(unharmed)
    bench.step(2)
    bench.submit(harmed)
    bench.runner.faults["prefill"] = [ValueError("out of memory")]
    bench.finish()
    error = bench.error_of(harmed)
    assert error is not None
    assert "ValueError: out of memory" in error.message
    assert generated(unharmed) == bench.runner.answer_to([1, 2, 3], 10)
    assert bench.scheduler.blocks.num_owned == 0


def test_a_failing_decode_fails_its_requests_and_the_engine_goes_on() -> None:
    bench = Bench()
    harmed = job([1, 2, 3], max_tokens=10)
    bench.submit(harmed)
    bench.step(2)
    bench.runner.faults["decode"] = [ValueError("overheated")]
    bench.step()
    later = job([1, 2, 3], max_tokens=10)
    bench.submit(later)
    bench.finish()
    assert bench.error_of(harmed) is not None
    assert generated(later) == bench.runner.answer_to([1, 2, 3], 10)


def test_a_request_fails_as_a_whole() -> None:
    """One choice decodes, another is prefilled in the same step: whichever call fails, neither goes on."""
    for call in ("prefill", "decode"):
        bench = Bench()
        leader = choice(range(9), max_tokens=20)
        asked = Job("request", [leader, choice(range(9), index=1, max_tokens=20, leader=leader.sequence)])
        beside = job([1, 2, 3], max_tokens=10)
        bench.submit(asked, beside)
        bench.step()
        bench.runner.faults[call] = [ValueError("broken")]
        bench.step()
        assert bench.error_of(asked) is not None
        assert all(each.sequence.state is SequenceState.FINISHED for each in asked.choices)
        if call == "prefill":
            bench.finish()
            assert generated(beside) == bench.runner.answer_to([1, 2, 3], 10)
        bench.core.check()


def test_a_broken_grammar_fails_its_own_request_alone() -> None:
    bench = Bench()
    harmed, unharmed = job([1, 2], grammar=BrokenGrammar()), job([1, 2, 3], max_tokens=5)
    bench.submit(harmed, unharmed)
    bench.finish()
    error = bench.error_of(harmed)
    assert error is not None
    assert "the grammar is too large" in error.message
    assert generated(unharmed) == bench.runner.answer_to([1, 2, 3], 5)


def test_logits_that_are_no_numbers_fail_the_request() -> None:
    bench = Bench()
    bench.runner.likes = {token: float("nan") for token in range(TOKENIZER.vocab_size)}
    asked = job([1, 2])
    bench.submit(asked)
    bench.finish()
    error = bench.error_of(asked)
    assert error is not None
    assert "no token can come next" in error.message


# embeddings


def embedding(length: int, client: str = "", intent: Intent = Intent.BULK, first: int = 0) -> Job:
    """Of the tokens first, first + 1, …"""
    prompt = range(first, first + length)
    wanted = choice(prompt, max_tokens=0, uses_cache=False, wants_hidden_states=True, client=client, intent=intent)
    wanted.pooling = MeanPooling()
    return Job("embedding", [wanted])


def vector(asked: Job) -> list[float]:
    pooling = asked.choices[0].pooling
    assert pooling is not None
    values: list[float] = pooling.vector.tolist()
    return values


@not_on_a_card
def test_an_embedding_is_made_in_chunks_while_others_get_their_tokens() -> None:
    bench = Bench(step_tokens=16)
    chat, asked = job([1, 2], max_tokens=50), embedding(100)
    bench.submit(chat)
    bench.step()
    bench.submit(asked)
    for num_steps in range(1, 8):
        assert not bench.events_of(asked) or not isinstance(bench.events_of(asked)[-1], Finished)
        bench.step()
        assert len(generated(chat)) > num_steps
    bench.finish()
    assert vector(asked) == bench.runner.embedding_of(range(100))
    assert end(bench.events_of(asked)).usage.completion_tokens == 0


@not_on_a_card
def test_a_keystroke_goes_before_embeddings_that_fill_the_batch_and_these_go_on_where_they_were() -> None:
    bench = Bench(max_batch_size=2, step_tokens=16)
    asked = [embedding(60, first=i) for i in range(6)]
    bench.submit(*asked)
    bench.step(2)
    typed = job([1, 2, 3], max_tokens=2, intent=Intent.COMPLETION)
    bench.submit(typed)
    bench.step()
    assert generated(typed)[:1] == bench.runner.answer_to([1, 2, 3], 1)
    bench.finish()
    assert [vector(each) for each in asked] == [bench.runner.embedding_of(range(i, i + 60)) for i in range(6)]


@not_on_a_card
def test_an_embedding_that_loses_its_blocks_is_made_anew() -> None:
    bench = Bench(num_blocks=16, max_batch_size=4, step_tokens=16)
    asked = embedding(60)
    bench.submit(asked)
    bench.step(2)
    chats = [job([1, 2, first], max_tokens=12) for first in range(3)]
    bench.submit(*chats)
    bench.finish()
    assert vector(asked) == bench.runner.embedding_of(range(60))
    for first, chat in enumerate(chats):
        assert generated(chat) == bench.runner.answer_to([1, 2, first], 12)


@not_on_a_card
def test_an_embedding_nobody_waits_for_any_more_is_not_finished() -> None:
    bench = Bench(step_tokens=16)
    asked = [embedding(60) for _ in range(20)]
    bench.submit(*asked)
    bench.step(2)
    for each in asked:
        bench.core.send(Cancel(each))
    bench.step()
    assert bench.scheduler.is_idle
    bench.core.check()


@not_on_a_card
def test_an_embedding_that_fails_is_answered_and_harms_nobody_who_has_his_prompt_behind_him() -> None:
    bench = Bench()
    chat, failing, later = job([1, 2], max_tokens=20), embedding(8), embedding(8)
    bench.submit(chat)
    bench.step()
    bench.runner.faults["prefill"] = [ValueError("too hot")]
    bench.submit(failing)
    bench.step()
    bench.submit(later)
    bench.finish()
    error = bench.error_of(failing)
    assert error is not None
    assert "too hot" in error.message
    assert generated(chat) == bench.runner.answer_to([1, 2], 20)
    assert vector(later) == bench.runner.embedding_of(range(8))


@not_on_a_card
@settings(max_examples=25)
@given(
    lengths=st.lists(st.integers(1, 120), min_size=2, max_size=4),
    counts=st.lists(st.integers(1, 30), min_size=4, max_size=4),
    num_places=st.integers(1, 8),
)
def test_clients_that_embed_get_as_many_tokens_as_each_other(
    lengths: list[int], counts: list[int], num_places: int
) -> None:
    """However long each one's inputs are, and however many of them wait: while all have some that wait, no two are
    further apart than a round and what is under way."""
    bench = Bench(num_blocks=1000, max_batch_size=num_places)
    asked = {
        str(i): [embedding(length, client=str(i)) for _ in range(num_places + count)]
        for i, (length, count) in enumerate(zip(lengths, counts, strict=False))
    }
    bench.submit(*(each for jobs in asked.values() for each in jobs))
    while True:
        bench.step()
        sequences = {client: [each.choices[0].sequence for each in jobs] for client, jobs in asked.items()}
        waiting = {each.client for each in bench.scheduler.waiting}
        if waiting != asked.keys():
            break
        used = [sum(each.num_computed or each.num_tokens * (each.state is SequenceState.FINISHED) for each in of)
                for of in sequences.values()]  # fmt: skip
        assert max(used) - min(used) <= QUANTUM + (num_places + 1) * max(lengths)
    bench.finish()


# the thread


def test_the_thread_answers_and_ends_when_told() -> None:
    bench = Bench()
    answered = threading.Event()
    publish = bench.published.append

    def listen(reports: SequenceOf[Report]) -> None:
        publish(reports)
        if any(report.is_last for report in reports):
            answered.set()

    core = EngineCore(bench.runner, bench.scheduler, listen, bench.broken.append)
    core.start()
    asked = job([1, 2, 3])
    core.send(Submit(asked))
    assert answered.wait(10)
    core.send(Stop())
    assert core.join(10)
    assert generated(asked) == bench.runner.answer_to([1, 2, 3], 8)
    assert bench.runner.num_closed == 1
    assert bench.broken == []


def test_a_leak_breaks_the_engine_with_a_number() -> None:
    bench = Bench()
    bench.scheduler.blocks.allocate(3)
    bench.core.start()
    assert bench.core.join(10)
    (error,) = bench.broken
    assert isinstance(error, BlockLeak)
    assert "3 blocks" in str(error)
    assert bench.runner.num_closed == 1


def test_a_sequence_that_nobody_runs_breaks_the_engine() -> None:
    bench = Bench()
    lost = job([1, 2])
    bench.submit(lost)
    bench.step()
    bench.scheduler.remove(lost.choices[0].sequence)
    with pytest.raises(RuntimeError, match="1 sequences are neither running nor waiting"):
        bench.core.check()
