"""The scheduler: who runs, in what portions, and what happens when blocks run out."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from backends.engine.blocks import BlockLeak, BlockManager, OutOfBlocks, root
from backends.engine.padding import Padding
from backends.engine.portions import TYPED_STEPS, oldest
from backends.engine.runner import Traits
from backends.engine.scheduler import Plan, Scheduler
from backends.engine.sequence import Sequence, SequenceState
from backends.request import Intent

BLOCK = 4


def make_scheduler(num_blocks: int = 64, max_batch_size: int = 8, step_tokens: int = 32, **options: Any) -> Scheduler:
    return Scheduler(
        BlockManager(num_blocks), block_size=BLOCK, max_batch_size=max_batch_size, step_tokens=step_tokens, **options
    )


def sequence(num_prompt_tokens: int, max_tokens: int = 8, first: int = 0, **options: Any) -> Sequence:
    prompt = np.arange(first, first + num_prompt_tokens, dtype=np.int32)
    return Sequence(prompt, max_tokens, BLOCK, **options)


def run(scheduler: Scheduler, plan: Plan) -> None:
    """What a step does: evaluates the plan's tokens, gives each sequence that is through a token, ends full ones."""
    for chunk in plan.chunks:
        scheduler.advance(chunk.sequence, chunk.num_tokens)
    for decoding in plan.decodes:
        scheduler.advance(decoding, 1)
    for advanced in (*plan.decodes, *(chunk.sequence for chunk in plan.chunks)):
        if advanced.num_pending:
            continue
        if len(advanced.generated) < advanced.max_tokens:
            advanced.append(7)
        if len(advanced.generated) >= advanced.max_tokens:
            scheduler.remove(advanced)


def step(scheduler: Scheduler) -> Plan:
    plan = scheduler.schedule()
    run(scheduler, plan)
    return plan


def finish(scheduler: Scheduler, max_steps: int = 1000) -> int:
    for num_steps in range(max_steps):
        if scheduler.is_idle:
            return num_steps
        step(scheduler)
    raise AssertionError("sequences starve")


def num_tokens_of(plan: Plan) -> int:
    return len(plan.decodes) + sum(chunk.num_tokens for chunk in plan.chunks)


def test_a_long_prompt_is_evaluated_in_chunks_while_others_decode() -> None:
    scheduler = make_scheduler(num_blocks=1000)
    talker, reader = sequence(4, max_tokens=100), sequence(200, first=1000)
    scheduler.add(talker)
    step(scheduler)
    scheduler.add(reader)
    plans = [step(scheduler) for _ in range(8)]
    assert all(plan.decodes[0] is talker for plan in plans)
    assert all(num_tokens_of(plan) <= 32 for plan in plans)
    assert reader.generated


def test_a_short_prompt_gets_through_beside_a_long_one() -> None:
    scheduler = make_scheduler(num_blocks=1000)
    scheduler.add(sequence(200))
    step(scheduler)
    short = sequence(12, first=1000)
    scheduler.add(short)
    step(scheduler)
    assert short.generated


def test_short_prompts_never_starve_a_long_one() -> None:
    scheduler = make_scheduler(num_blocks=1000)
    long = sequence(200)
    scheduler.add(long)
    for i in range(13):
        scheduler.add(sequence(12, max_tokens=1, first=1000 * (i + 1)))
        step(scheduler)
    assert long.generated


def test_a_prompt_advances_even_when_decodes_fill_the_budget() -> None:
    scheduler = make_scheduler(max_batch_size=8, step_tokens=1)
    for i in range(4):
        scheduler.add(sequence(4, max_tokens=50, first=100 * i))
    for _ in range(4):
        step(scheduler)
    assert all(running.generated for running in scheduler.running)


def test_sequences_join_and_leave_at_any_step() -> None:
    scheduler = make_scheduler(max_batch_size=2)
    brief, other, late = sequence(4, max_tokens=2), sequence(4, first=50), sequence(4, first=90)
    for each in (brief, other, late):
        scheduler.add(each)
    step(scheduler)
    assert (brief.slot, other.slot, late.slot) == (0, 1, -1)
    step(scheduler)
    assert brief.state is SequenceState.FINISHED
    step(scheduler)
    assert late.slot == 0


def test_the_last_prompt_token_is_always_evaluated() -> None:
    scheduler = make_scheduler()
    scheduler.add(sequence(8, max_tokens=1))
    finish(scheduler)
    again = sequence(8, max_tokens=1)
    scheduler.add(again)
    (chunk,) = scheduler.schedule().chunks
    assert again.num_cached == 4
    assert (chunk.num_tokens, chunk.is_last) == (4, True)


def test_a_follow_up_takes_prompt_and_answer_from_the_cache() -> None:
    scheduler = make_scheduler()
    scheduler.add(sequence(8, max_tokens=9))
    finish(scheduler)
    follow_up = Sequence(np.array([*range(8), *[7] * 9, 1, 2, 3], np.int32), 1, BLOCK)
    scheduler.add(follow_up)
    scheduler.schedule()
    assert follow_up.num_cached == 16


def test_a_block_is_shared_only_when_it_is_written() -> None:
    scheduler = make_scheduler(step_tokens=8)
    scheduler.add(sequence(16))
    scheduler.schedule()  # planned, but not run
    twin = sequence(16)
    scheduler.add(twin)
    scheduler.schedule()
    assert twin.num_cached == 0


def test_a_sequence_outside_the_cache_neither_takes_nor_leaves_blocks() -> None:
    scheduler = make_scheduler()
    scheduler.add(sequence(8, max_tokens=1))
    finish(scheduler)
    num_cached = scheduler.blocks.num_cached
    private = sequence(8, max_tokens=9, uses_cache=False)
    scheduler.add(private)
    step(scheduler)
    assert private.num_cached == 0
    finish(scheduler)
    assert scheduler.blocks.num_cached == num_cached


def test_a_prompt_whose_logits_are_all_wanted_is_evaluated_whole() -> None:
    scheduler = make_scheduler()
    scheduler.add(sequence(16, max_tokens=1))
    finish(scheduler)
    wanted = sequence(16, max_tokens=1, wants_all_logits=True)
    scheduler.add(wanted)
    (chunk,) = scheduler.schedule().chunks
    assert chunk.num_tokens == 16


def test_followers_wait_for_their_leader_and_share_its_blocks() -> None:
    scheduler = make_scheduler(step_tokens=8)
    leader = sequence(18)
    followers = [sequence(18, leader=leader) for _ in range(3)]
    for each in (leader, *followers):
        scheduler.add(each)
    step(scheduler)
    assert [follower.state for follower in followers] == [SequenceState.WAITING] * 3
    step(scheduler)
    step(scheduler)
    scheduler.schedule()
    assert [follower.num_cached for follower in followers] == [16, 16, 16]
    assert all((follower.block_table[:4] == leader.block_table[:4]).all() for follower in followers)


def test_those_who_wait_for_their_leader_block_nobody() -> None:
    scheduler = make_scheduler(step_tokens=8)
    leader, stranger = sequence(100), sequence(4, first=500)
    scheduler.add(leader)
    scheduler.add(sequence(100, leader=leader))
    scheduler.add(stranger)
    scheduler.schedule()
    assert stranger.state is SequenceState.RUNNING


def test_the_youngest_gives_way_when_blocks_run_out_and_resumes() -> None:
    scheduler = make_scheduler(num_blocks=6)
    old, young = sequence(8, max_tokens=14), sequence(8, max_tokens=14, first=100)
    scheduler.add(old)
    scheduler.add(young)
    while young.state is not SequenceState.WAITING or not young.generated:
        step(scheduler)
    assert old.state is SequenceState.RUNNING
    assert (len(young.block_table), young.num_computed, young.slot) == (0, 0, -1)
    kept = len(young.generated)
    finish(scheduler)
    assert len(old.generated) == len(young.generated) == 14 > kept
    scheduler.check()


def test_a_decoding_sequence_gets_blocks_that_lie_together_while_there_are_plenty() -> None:
    plenty, scarce = make_scheduler(num_blocks=64, max_batch_size=2), make_scheduler(num_blocks=9, max_batch_size=2)
    for scheduler in (plenty, scarce):
        pair = [sequence(4, max_tokens=12), sequence(4, max_tokens=12, first=50)]
        for each in pair:
            scheduler.add(each)
        for _ in range(6):
            step(scheduler)
        tables = [each.block_table.tolist() for each in pair]
        if scheduler is plenty:
            assert tables == [[0, 1, 4, 5], [2, 3, 6, 7]]  # and no more than all of its tokens will need
        else:
            assert tables == [[0, 1, 4], [2, 3, 5]]
        assert finish(scheduler) > 0


def test_a_preempted_sequence_goes_before_those_who_came_later() -> None:
    scheduler = make_scheduler(num_blocks=6)
    for i in range(3):
        scheduler.add(sequence(8, max_tokens=14, first=100 * i))
    step(scheduler)
    assert len(scheduler.running) == 2
    while len(scheduler.running) == 2:
        step(scheduler)
    assert [waiting.number for waiting in scheduler.waiting] == [1, 2]


def test_a_lower_priority_waits_for_a_higher_one_and_gives_way_to_it() -> None:
    scheduler = make_scheduler(num_blocks=6)
    patient, other = sequence(8, max_tokens=14, priority=1), sequence(8, max_tokens=14, first=100, priority=1)
    urgent = sequence(8, max_tokens=14, first=200)
    scheduler.add(patient)
    step(scheduler)
    scheduler.add(other)
    scheduler.add(urgent)
    step(scheduler)
    assert (urgent.state, other.state) == (SequenceState.RUNNING, SequenceState.WAITING)
    while patient.state is SequenceState.RUNNING:
        step(scheduler)
    assert urgent.state is SequenceState.RUNNING
    finish(scheduler)
    assert len(patient.generated) == len(other.generated) == 14


def full_of(intent: Intent, scheduler: Scheduler, num: int, **options: Any) -> list[Sequence]:
    """So many of that class, which decode."""
    sequences = [sequence(8, max_tokens=60, first=1000 * (i + 1), intent=intent, **options) for i in range(num)]
    for each in sequences:
        scheduler.add(each)
    while any(each.is_prefilling for each in sequences):
        step(scheduler)
    return sequences


def test_a_completion_gets_a_place_in_a_full_batch_and_who_gave_way_keeps_its_blocks() -> None:
    scheduler = make_scheduler(num_blocks=200)
    agents = full_of(Intent.AGENT, scheduler, 8)
    typed = sequence(4, max_tokens=3, intent=Intent.COMPLETION)
    scheduler.add(typed)
    num_evaluated = agents[-1].num_computed
    plan = step(scheduler)
    assert [chunk.sequence for chunk in plan.chunks] == [typed]
    assert typed.generated, "the first token comes with the very next step"
    paused = agents[-1]
    assert paused.state is SequenceState.WAITING
    assert paused.num_computed == num_evaluated
    finish(scheduler)
    assert len(paused.generated) == 60
    assert scheduler.blocks.num_owned == 0


def test_no_more_places_are_completions_for_the_asking_than_are_kept_for_them() -> None:
    scheduler = make_scheduler(num_blocks=400, completion_slots=2)
    full_of(Intent.AGENT, scheduler, 8)
    completions = [sequence(4, intent=Intent.COMPLETION, first=100 * i) for i in range(4)]
    for each in completions:
        scheduler.add(each)
    scheduler.schedule()
    assert [each.state for each in completions] == [SequenceState.RUNNING] * 2 + [SequenceState.WAITING] * 2


def test_bulk_gives_way_to_a_chat_but_an_agent_does_not() -> None:
    scheduler = make_scheduler(num_blocks=200)
    (bulk, *_) = full_of(Intent.BULK, scheduler, 1) + full_of(Intent.AGENT, scheduler, 7)
    chats = [sequence(4, first=100 * i) for i in range(2)]
    for each in chats:
        scheduler.add(each)
    scheduler.schedule()
    assert [each.state for each in (bulk, *chats)] == [
        SequenceState.WAITING,
        SequenceState.RUNNING,
        SequenceState.WAITING,
    ]


def num_places(scheduler: Scheduler) -> dict[str, int]:
    return dict(Counter(each.client for each in scheduler.running))


def test_who_had_the_batch_for_itself_shares_it_with_the_next_that_comes() -> None:
    scheduler = make_scheduler(num_blocks=400)
    greedy = full_of(Intent.CHAT, scheduler, 8, client="a")
    one = sequence(4, max_tokens=40, client="b")
    scheduler.add(one)
    step(scheduler)
    assert one.generated, "its first token comes with the very next step"
    paused = greedy[-1]
    assert paused.state is SequenceState.WAITING
    assert paused.num_computed > 0, "and nobody starts again for it"
    for i in range(6):
        scheduler.add(sequence(4, max_tokens=40, first=100 * i, client="b"))
        scheduler.add(sequence(4, max_tokens=40, first=100 * i, client="c"))
    for _ in range(20):  # as their rounds come
        step(scheduler)
    assert sorted(num_places(scheduler).values()) == [2, 3, 3]
    finish(scheduler)
    assert all(len(each.generated) == 60 for each in greedy)


def test_places_that_are_shared_evenly_stay_where_they_are() -> None:
    scheduler = make_scheduler(num_blocks=400, max_batch_size=4)
    for client in "ab":
        for i in range(6):
            scheduler.add(sequence(4, max_tokens=40, first=100 * i, client=client))
    scheduler.schedule()
    before = list(scheduler.running)
    for _ in range(20):
        step(scheduler)
    assert scheduler.running == before
    assert num_places(scheduler) == {"a": 2, "b": 2}


def test_a_place_is_not_taken_for_another_client_from_a_more_urgent_class() -> None:
    scheduler = make_scheduler(num_blocks=400)
    full_of(Intent.CHAT, scheduler, 8, client="a")
    agent = sequence(4, client="b", intent=Intent.AGENT)
    scheduler.add(agent)
    step(scheduler)
    assert agent.state is SequenceState.WAITING


def test_a_paused_sequence_loses_its_blocks_before_anyone_who_runs() -> None:
    scheduler = make_scheduler(num_blocks=20, max_batch_size=2)
    running, paused = full_of(Intent.AGENT, scheduler, 2)
    scheduler.add(sequence(20, max_tokens=30, intent=Intent.COMPLETION))
    step(scheduler)
    assert paused.state is SequenceState.WAITING
    assert len(paused.block_table)
    while len(paused.block_table):
        step(scheduler)
    assert (running.state, len(scheduler.running)) == (SequenceState.RUNNING, 2)
    finish(scheduler)
    assert len(paused.generated) == len(running.generated) == 60
    scheduler.check()


def test_a_place_goes_to_who_paid_for_less_also_where_two_pay_for_one() -> None:
    for paid_by, client in (([], "b"), (["a", "b"], "c")):
        scheduler = make_scheduler(max_batch_size=1)
        shared = sequence(32, max_tokens=1, client="a", paid_by=paid_by, uses_cache=False)
        waiting = [sequence(4, client=client, first=100) for client in "bc"]
        scheduler.add(shared)
        scheduler.schedule()
        for each in waiting:
            scheduler.add(each)
        for _ in range(4):  # as if it went on and on
            scheduler.advance(shared, 32)
            shared.num_computed = 0
        scheduler.remove(shared)
        scheduler.schedule()
        assert [each.client for each in scheduler.running] == [client]


def test_with_a_single_place_an_agent_gets_on_however_many_completions_come() -> None:
    scheduler = make_scheduler(num_blocks=64, max_batch_size=1)
    agent = sequence(8, max_tokens=40, intent=Intent.AGENT, first=5000)
    scheduler.add(agent)
    for i in range(2000):
        if len(scheduler.waiting) < 3:
            scheduler.add(sequence(4, max_tokens=2, first=10 * i, intent=Intent.COMPLETION))
        step(scheduler)
        if agent.state is SequenceState.FINISHED:
            return
    raise AssertionError("the agent starves")


def test_while_somebody_types_prompts_and_decodes_come_in_pieces_at_the_same_rate() -> None:
    scheduler = make_scheduler(num_blocks=1000)
    agents = full_of(Intent.AGENT, scheduler, 2)
    typed = sequence(4, max_tokens=1, intent=Intent.COMPLETION)
    scheduler.add(typed)
    step(scheduler)
    reader = sequence(4 * 28, intent=Intent.AGENT, first=7000)
    scheduler.add(reader)
    plans = [step(scheduler) for _ in range(10)]
    assert max(num_tokens_of(plan) for plan in plans) <= 8, "a quarter of a step"
    with_decodes = [plan for plan in plans if plan.decodes]
    assert len(with_decodes) == 2
    assert all(set(agents) <= set(plan.decodes) and not plan.chunks for plan in with_decodes)


def test_many_completions_leave_a_part_of_every_other_step_to_others() -> None:
    scheduler = make_scheduler(num_blocks=1000, completion_slots=8)
    agent = sequence(40, intent=Intent.AGENT, first=9000)
    scheduler.add(agent)
    for i in range(60):
        scheduler.add(sequence(28, max_tokens=1, first=100 * i, intent=Intent.COMPLETION))
    typed_before_a_piece = [0]
    while not agent.generated:
        chunks = step(scheduler).chunks
        if agent in (chunk.sequence for chunk in chunks):
            typed_before_a_piece.append(0)
        elif agent.state is SequenceState.RUNNING:
            typed_before_a_piece[-1] += sum(chunk.num_tokens for chunk in chunks)
    assert max(typed_before_a_piece) < (TYPED_STEPS + 1) * 32


def test_short_completions_do_not_keep_a_long_one_waiting_for_ever() -> None:
    scheduler = make_scheduler(num_blocks=1000)
    long = sequence(200, max_tokens=1, first=9000, intent=Intent.COMPLETION, client="long")
    scheduler.add(long)
    for number in range(100):
        for i in range(3):
            first = 100 * (3 * number + i)
            scheduler.add(sequence(28, max_tokens=1, first=first, intent=Intent.COMPLETION, client=f"short {i}"))
        step(scheduler)
        if long.state is SequenceState.FINISHED:
            return
    raise AssertionError("the long one stands still")


def test_a_completion_that_must_be_evaluated_whole_is() -> None:
    scheduler = make_scheduler(num_blocks=1000, traits=Traits(resumes=False))
    full_of(Intent.AGENT, scheduler, 2)
    typed = sequence(100, intent=Intent.COMPLETION)
    scheduler.add(typed)
    assert [(chunk.sequence, chunk.num_tokens) for chunk in step(scheduler).chunks] == [(typed, 100)]


def continued(num_own: int, first: int, **options: Any) -> Sequence:
    """Begins as all of its kind, with eight blocks."""
    shared, own = np.arange(8 * BLOCK), np.arange(first, first + num_own)
    return Sequence(np.concatenate((shared, own)).astype(np.int32), 4, BLOCK, **options)


def test_what_prompts_that_come_together_begin_with_is_evaluated_once() -> None:
    scheduler = make_scheduler(num_blocks=1000, step_tokens=16)
    sequences = [continued(5, 1000 * i, client=f"{i}") for i in range(1, 5)]
    for each in sequences:
        scheduler.add(each)
    num_tokens = sum(num_tokens_of(step(scheduler)) for _ in range(20))
    assert all(each.state is SequenceState.FINISHED for each in sequences)
    assert num_tokens == 8 * BLOCK + 4 * 5 + 4 * 3  # of the last token of an answer nothing is evaluated
    assert [each.num_cached for each in sequences] == [0, 8 * BLOCK, 8 * BLOCK, 8 * BLOCK]


def test_who_waits_for_the_prefix_of_one_that_leaves_goes_on_from_there() -> None:
    scheduler = make_scheduler(num_blocks=1000, step_tokens=16)
    leaving, staying = continued(5, 1000), continued(5, 2000)
    scheduler.add(leaving)
    scheduler.add(staying)
    step(scheduler)
    assert staying.num_computed == 0
    scheduler.remove(leaving)
    step(scheduler)
    assert staying.num_cached == 16  # a step's
    finish(scheduler)
    assert staying.state is SequenceState.FINISHED


def test_a_completion_waits_for_nobody_else_s_prompt() -> None:
    scheduler = make_scheduler(num_blocks=1000, step_tokens=16)
    scheduler.add(continued(500, 1000, intent=Intent.AGENT))
    typed = continued(5, 2000, intent=Intent.COMPLETION)
    scheduler.add(typed)
    assert [chunk.sequence for chunk in step(scheduler).chunks] == [typed]


def test_prefixes_are_shared_only_under_the_same_salt() -> None:
    scheduler = make_scheduler()
    scheduler.add(sequence(8, max_tokens=1, cache_root=root("mine")))
    finish(scheduler)
    cached = {}
    for salt in ("yours", "mine"):
        again = sequence(8, max_tokens=1, cache_root=root(salt))
        scheduler.add(again)
        finish(scheduler)
        cached[salt] = again.num_cached
    assert cached == {"yours": 0, "mine": 4}


def test_nobody_overtakes_a_sequence_that_waits_for_blocks() -> None:
    scheduler = make_scheduler(num_blocks=8)
    scheduler.add(sequence(16, max_tokens=10))
    scheduler.schedule()
    scheduler.add(sequence(16, first=100))
    small = sequence(1, first=500)
    scheduler.add(small)
    scheduler.schedule()
    assert small.state is SequenceState.WAITING


def test_a_sequence_that_no_number_of_blocks_could_hold_is_refused_at_once() -> None:
    scheduler = make_scheduler(num_blocks=4)
    with pytest.raises(OutOfBlocks):
        scheduler.add(sequence(10, max_tokens=7))
    scheduler.add(sequence(10, max_tokens=6))
    finish(scheduler)


def test_removing_a_waiting_or_running_sequence_frees_everything() -> None:
    scheduler = make_scheduler(max_batch_size=1)
    running, waiting = sequence(10, uses_cache=False), sequence(10)
    scheduler.add(running)
    scheduler.add(waiting)
    step(scheduler)
    for each in (running, waiting, waiting):
        scheduler.remove(each)
    assert scheduler.is_idle
    assert scheduler.blocks.num_free == 64
    assert scheduler.slots == [None]


def test_blocks_that_nobody_answers_for_are_an_error_with_their_number() -> None:
    scheduler = make_scheduler()
    scheduler.blocks.allocate(3)
    with pytest.raises(BlockLeak, match="3 blocks are owned by no sequence"):
        scheduler.check()


def numbers(sequence: Sequence, num_tokens: int) -> list[int]:
    """One for each token, which depends on it and on all before it."""
    tokens = sequence.tokens(0, num_tokens).tolist()
    return [hash(tuple(tokens[: place + 1])) for place in range(num_tokens)]


class Traffic(RuleBasedStateMachine):
    """Anything may be submitted, cancelled and stepped in any order, with too few blocks for all.

    `written` is what a device would hold: for each token a number that depends on it and on all before it. Whatever
    happens, each sequence must find its own in its blocks.
    """

    NUM_BLOCKS = 10
    TRAITS = Traits()

    def __init__(self) -> None:
        super().__init__()
        self.scheduler = make_scheduler(self.NUM_BLOCKS, max_batch_size=4, step_tokens=12, traits=self.TRAITS)
        self.written = np.zeros((self.NUM_BLOCKS, BLOCK), np.int64)
        self.live: list[Sequence] = []
        self.done: list[Sequence] = []
        self.first: Sequence | None = None
        self.num_past = 0

    @rule(
        prompt=st.lists(st.sampled_from([1, 1, 1, 2]), min_size=1, max_size=24),
        max_tokens=st.integers(0, 16),
        uses_cache=st.booleans(),
        wants_all_logits=st.booleans(),
        num_choices=st.integers(1, 3),
        priority=st.integers(0, 1),
        intent=st.sampled_from(list(Intent)),
        client=st.sampled_from("ab"),
    )
    def submit(
        self,
        prompt: list[int],
        max_tokens: int,
        uses_cache: bool,
        wants_all_logits: bool,
        num_choices: int,
        priority: int,
        intent: Intent,
        client: str,
    ) -> None:
        leader: Sequence | None = None
        for _ in range(num_choices):
            choice = Sequence(
                np.array(prompt, np.int32),
                max_tokens,
                BLOCK,
                intent=intent,
                client=client,
                priority=priority,
                uses_cache=uses_cache,
                wants_all_logits=wants_all_logits and leader is None,
                leader=leader,
            )
            self.scheduler.add(choice)
            self.live.append(choice)
            leader = leader or choice

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        if self.live:
            self.scheduler.remove(self.live.pop(data.draw(st.integers(0, len(self.live) - 1))))

    @rule()
    def step(self) -> None:
        plan = self.scheduler.schedule()
        self._check_plan(plan)
        for chunk in plan.chunks:
            self._write(chunk.sequence, chunk.num_tokens)
        for decoding in plan.decodes:
            self._write(decoding, 1)
        run(self.scheduler, plan)
        finished = [each for each in self.live if each.state is SequenceState.FINISHED]
        self.done += finished
        self.live = [each for each in self.live if each not in finished]

    def _check_plan(self, plan: Plan) -> None:
        planned = [*plan.decodes, *(chunk.sequence for chunk in plan.chunks)]
        assert len(planned) == len(set(planned)) <= 4
        assert all(each.state is SequenceState.RUNNING for each in planned)
        padding = self.TRAITS.padding
        num_beside = 0 if padding.smallest else len(plan.decodes)
        assert sum(padding.padded(chunk.num_tokens) for chunk in plan.chunks) + num_beside <= 12
        self._check_progress(planned, num_tokens_of(plan))
        for chunk in plan.chunks:
            assert chunk.sequence.num_computed % BLOCK == 0
            assert chunk.num_tokens > 0

    def _check_progress(self, planned: list[Sequence], num_tokens: int) -> None:
        """Nobody runs for nothing; and before the oldest advances, others get three whole steps' tokens at most, with
        the decodes between them."""
        running = self.scheduler.running
        assert bool(planned) == bool(running)
        first = oldest(running) if running else None
        stands_still = first is self.first and first not in planned
        self.num_past = self.num_past + num_tokens if stands_still else 0
        self.first = first
        assert self.num_past <= (TYPED_STEPS + 1) * (12 + 4), "the oldest stands still"

    def _write(self, sequence: Sequence, num_tokens: int) -> None:
        start = sequence.num_computed
        for position, number in enumerate(numbers(sequence, start + num_tokens)[start:], start):
            self.written[sequence.block_table[position // BLOCK], position % BLOCK] = number

    @invariant()
    def books_balance(self) -> None:
        scheduler, blocks = self.scheduler, self.scheduler.blocks
        scheduler.check()
        assert blocks.num_free + blocks.num_cached + blocks.num_owned == self.NUM_BLOCKS
        assert sorted(each.number for each in self.live) == sorted(
            each.number for each in (*scheduler.waiting, *scheduler.running)
        )
        assert [each for each in scheduler.slots if each] == sorted(scheduler.running, key=lambda each: each.slot)

    @invariant()
    def every_sequence_finds_its_own(self) -> None:
        for each in self.scheduler.running:
            found = self.written[each.block_table].reshape(-1)[: each.num_computed]
            assert found.tolist() == numbers(each, each.num_computed)

    def teardown(self) -> None:
        for _ in range(2000):
            if self.scheduler.is_idle:
                break
            self.step()
        assert self.scheduler.is_idle, "sequences starve"
        assert self.scheduler.blocks.num_owned == 0
        assert all(len(each.generated) == each.max_tokens for each in self.done)


TestTraffic = Traffic.TestCase
TestTraffic.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


# devices that can't do everything

PADDED = Padding(smallest=8, second=32)


class PaddedTraffic(Traffic):
    TRAITS = Traits(padding=PADDED)


TestPaddedTraffic = PaddedTraffic.TestCase
TestPaddedTraffic.settings = TestTraffic.settings


def test_padding_counts_and_chunks_fill_their_lengths() -> None:
    scheduler = make_scheduler(num_blocks=1000, traits=Traits(padding=PADDED))
    scheduler.add(sequence(100, first=1000))
    assert [chunk.num_tokens for chunk in scheduler.schedule().chunks] == [32]
    scheduler.add(sequence(5, first=2000))
    scheduler.add(sequence(5, first=3000))
    scheduler.add(sequence(5, first=4000))
    padded = [PADDED.padded(chunk.num_tokens) for chunk in scheduler.schedule().chunks]
    assert padded == [8, 8, 8]  # half of the step is the first prompt's, of which a length of 8 fits


def test_a_completion_is_begun_once_the_one_before_it_is_done() -> None:
    scheduler = make_scheduler(num_blocks=1000, step_tokens=16, traits=Traits(padding=PADDED))
    one, other = (sequence(14, first=first, intent=Intent.COMPLETION) for first in (1000, 2000))
    scheduler.add(one)
    scheduler.add(other)
    chunks = [[(chunk.sequence, chunk.num_tokens) for chunk in step(scheduler).chunks] for _ in range(4)]
    assert chunks == [[(one, 8)], [(one, 6)], [], [(other, 8)]]


def test_decodes_take_nothing_from_a_padded_prefill() -> None:
    scheduler = make_scheduler(num_blocks=1000, traits=Traits(padding=PADDED))
    for i in range(4):
        scheduler.add(sequence(4, max_tokens=100, first=100 * i))
        step(scheduler)
    scheduler.add(sequence(100, first=1000))
    assert [chunk.num_tokens for chunk in scheduler.schedule().chunks] == [32]


def test_a_short_end_of_an_agents_prompt_goes_through_the_decodes_of_others() -> None:
    scheduler = make_scheduler(num_blocks=1000, traits=Traits(padding=PADDED))
    full_of(Intent.CHAT, scheduler, 5)
    fed = sequence(37, max_tokens=2, first=9000, intent=Intent.AGENT)
    longer, chat = sequence(6, first=8000, intent=Intent.AGENT), sequence(5, first=7000)
    scheduler.add(fed)
    assert [(chunk.sequence, chunk.num_tokens) for chunk in step(scheduler).chunks] == [(fed, 32)]
    scheduler.add(longer)
    scheduler.add(chat)
    plans = [step(scheduler) for _ in range(5)]
    assert all(fed in plan.decodes for plan in plans)
    assert {chunk.sequence for plan in plans for chunk in plan.chunks} == {longer, chat}
    assert len(fed.generated) == 1


def test_who_is_paused_while_it_is_fed_goes_on_being_fed() -> None:
    scheduler = make_scheduler(num_blocks=1000, max_batch_size=6, traits=Traits(padding=PADDED))
    full_of(Intent.CHAT, scheduler, 5)
    fed = sequence(5, max_tokens=2, first=9000, intent=Intent.AGENT)
    scheduler.add(fed)
    step(scheduler)
    scheduler.add(sequence(4, max_tokens=2, intent=Intent.COMPLETION))
    step(scheduler)
    assert (fed.state, fed.num_computed) == (SequenceState.WAITING, 1)
    finish(scheduler)
    assert len(fed.generated) == 2


def test_a_prompt_is_evaluated_whole_where_none_can_be_resumed() -> None:
    scheduler = make_scheduler(num_blocks=1000, traits=Traits(padding=PADDED, resumes=False, shares_blocks=False))
    for first in (0, 1000, 0):
        scheduler.add(sequence(100, first=first))
    plans = [step(scheduler) for _ in range(3)]
    assert [[chunk.num_tokens for chunk in plan.chunks] for plan in plans] == [[100]] * 3
    assert all(each.num_cached == 0 for each in scheduler.running)
