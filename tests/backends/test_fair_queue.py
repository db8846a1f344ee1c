"""The fair queue: classes, rounds, and that nobody waits for ever."""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from backends.fair_queue import PATIENCE, QUANTUM, FairQueue
from backends.request import Intent


@dataclass(slots=True, eq=False)
class Item:
    intent: Intent
    client: str
    number: int
    num_passed: int = 0  # others of its class and more urgent ones that were served while it waited


class Desk:
    """A queue that serves one at a time."""

    def __init__(self) -> None:
        self.queue: FairQueue[Item] = FairQueue(attrgetter("number"))
        self.num_entered = 0

    def enter(self, client: str, intent: Intent = Intent.CHAT) -> Item:
        item = Item(intent, client, self.num_entered)
        self.num_entered += 1
        self.queue.enter(item, intent, client)
        return item

    def serve(self, cost: int = 1) -> Item:
        item = self.queue.head()
        assert item is not None
        self.queue.take(item)
        self.queue.charge(item, cost)
        self.queue.leave(item)
        return item


def test_a_more_urgent_class_goes_first() -> None:
    desk = Desk()
    for intent in reversed(Intent):
        desk.enter("a", intent)
    assert [desk.serve().intent for _ in Intent] == list(Intent)


def test_one_that_comes_behind_another_clients_fifty_is_next() -> None:
    desk = Desk()
    for _ in range(50):
        desk.enter("greedy")
    desk.serve()
    modest = desk.enter("modest")
    assert desk.serve() is modest


def test_a_client_that_has_used_its_round_waits_until_others_have() -> None:
    desk = Desk()
    for _ in range(20):
        desk.enter("long")
        desk.enter("short")
    served: list[str] = []
    while len(served) < 15:
        head = desk.queue.head()
        assert head is not None
        served.append(desk.serve(QUANTUM if head.client == "long" else QUANTUM // 4).client)
    assert served.count("short") == 4 * served.count("long")


def test_a_debt_is_forgotten_with_the_last_of_a_clients_requests_but_no_credit_is_gained() -> None:
    desk = Desk()
    desk.enter("a")
    desk.serve(100 * QUANTUM)
    first = desk.enter("b")
    second = desk.enter("a")
    assert [desk.serve(), desk.serve()] == [first, second]


def test_who_comes_late_has_no_credit_from_before() -> None:
    desk = Desk()
    for _ in range(12):
        desk.enter("early")
    for _ in range(4):
        desk.serve(QUANTUM)
    for _ in range(8):
        desk.enter("late")
    assert [desk.serve(QUANTUM).client for _ in range(8)].count("late") == 4


def test_one_that_is_put_back_keeps_its_place_among_its_clients_own() -> None:
    desk = Desk()
    first, second = desk.enter("a"), desk.enter("a")
    desk.queue.take(first)
    assert desk.queue.head() is second
    desk.queue.put_back(first)
    assert desk.queue.head() is first
    assert len(desk.queue) == 2


def test_the_order_is_told_by_turns() -> None:
    desk = Desk()
    a1, a2, bulk = desk.enter("a"), desk.enter("a"), desk.enter("a", Intent.BULK)
    b1 = desk.enter("b")
    assert list(desk.queue.order()) == [a1, b1, a2, bulk]


def test_what_several_read_they_pay_for_in_equal_parts() -> None:
    """So that each of them has half a round left, and whoever pays alone has none."""
    desk = Desk()
    shared, others = desk.enter("a"), [desk.enter("b"), desk.enter("c")]
    for item in (shared, *others):
        desk.queue.take(item)
    desk.queue.charge(shared, QUANTUM, ["a", "b"])
    desk.queue.charge(others[1], QUANTUM)
    for client in "cab":
        desk.enter(client)
    assert [desk.serve(QUANTUM // 2).client for _ in range(3)] == ["a", "b", "c"]


def test_who_pays_for_another_and_has_nothing_of_his_own_keeps_no_debt() -> None:
    desk = Desk()
    item = desk.enter("a")
    desk.queue.take(item)
    desk.queue.charge(item, 100 * QUANTUM, ["a", "b"])
    desk.enter("a")
    assert desk.enter("b") is not None
    desk.queue.leave(item)
    assert desk.serve().client == "b"


@given(st.lists(st.tuples(st.sampled_from(list(Intent)), st.integers(0, 2)), max_size=200))
def test_every_class_is_served_within_its_patience(arrivals: list[tuple[Intent, int]]) -> None:
    """However many of more urgent classes come, and whenever."""
    desk = Desk()
    passed = dict.fromkeys(Intent, 0)
    for intent, num_served in arrivals:
        desk.enter("a", intent)
        desk.enter("b", Intent.COMPLETION)
        for _ in range(num_served):
            waiting = {item.intent for item in desk.queue.order()}
            if not waiting:
                break
            served = desk.serve().intent
            for each in waiting - {served}:
                passed[each] += 1
            passed[served] = 0
            for each, limit in PATIENCE.items():
                assert passed[each] <= limit + len(PATIENCE)  # others may be due at the same time
            assert passed[Intent.COMPLETION] <= len(PATIENCE)


@settings(max_examples=50)
@given(
    costs=st.lists(st.integers(1, 2000), min_size=2, max_size=6),
    num_places=st.integers(1, 8),
    weights=st.lists(st.integers(1, 10), min_size=6, max_size=6),
)
def test_clients_that_always_want_something_get_as_much_as_each_other(
    costs: list[int], num_places: int, weights: list[int]
) -> None:
    """Whatever their requests cost, and however many of them wait; with several served at a time and paid for at the
    end of each. No two are ever further apart than a round and what was under way."""
    desk = Desk()
    used = dict.fromkeys(map(str, range(len(costs))), 0)
    for client, weight in zip(used, weights, strict=False):
        for _ in range(weight + num_places):
            desk.enter(client)
    serving: list[Item] = []
    for _ in range(400):
        while len(serving) < num_places and (item := desk.queue.head()) is not None:
            desk.queue.take(item)
            serving.append(item)
        item = serving.pop(0)
        cost = costs[int(item.client)]
        desk.queue.charge(item, cost)
        used[item.client] += cost
        desk.enter(item.client)
        desk.queue.leave(item)
        assert max(used.values()) - min(used.values()) <= QUANTUM + (num_places + 1) * max(costs)


class Visits(RuleBasedStateMachine):
    """Anything enters, is taken, put back and leaves in any order: the books balance, and all are served in the end."""

    def __init__(self) -> None:
        super().__init__()
        self.desk = Desk()
        self.waiting: list[Item] = []
        self.taken: list[Item] = []

    @rule(client=st.sampled_from("abc"), intent=st.sampled_from(list(Intent)))
    def enter(self, client: str, intent: Intent) -> None:
        self.waiting.append(self.desk.enter(client, intent))

    @precondition(lambda self: self.waiting)
    @rule(cost=st.integers(0, 1500))
    def take(self, cost: int) -> None:
        item = self.desk.queue.head()
        assert item in self.waiting
        self.desk.queue.take(item)
        self.desk.queue.charge(item, cost)
        self.waiting.remove(item)
        self.taken.append(item)

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def put_back(self, data: st.DataObject) -> None:
        item = self.taken.pop(data.draw(st.integers(0, len(self.taken) - 1)))
        self.desk.queue.put_back(item)
        self.waiting.append(item)

    @precondition(lambda self: self.waiting or self.taken)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        item = data.draw(st.sampled_from([*self.waiting, *self.taken]))
        self.desk.queue.leave(item)
        (self.waiting if item in self.waiting else self.taken).remove(item)

    @invariant()
    def books_balance(self) -> None:
        order = list(self.desk.queue.order())
        assert len(self.desk.queue) == len(order) == len(set(order))
        assert set(order) == set(self.waiting)
        assert (self.desk.queue.head() is None) == (not self.waiting)

    def teardown(self) -> None:
        while self.waiting:
            self.take(1)


TestVisits = Visits.TestCase
