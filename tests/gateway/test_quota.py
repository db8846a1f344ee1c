from __future__ import annotations

import contextlib
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from backends.errors import RateLimited
from gateway.config import Quota
from gateway.quota import QuotaBook

CLIENTS = ("a", "b")


def test_more_than_its_places_wait_in_their_order_and_more_are_refused() -> None:
    book: QuotaBook[int] = QuotaBook()
    quota = Quota(concurrent=1, queued=2)
    assert [book.enter("a", quota, ticket, 0.0) for ticket in (1, 2, 3)] == [True, False, False]
    with pytest.raises(RateLimited) as refused:
        book.enter("a", quota, 4, 0.0)
    assert refused.value.retry_after_s
    assert book.enter("b", quota, 5, 0.0), "another client is not held up"
    assert [book.leave("a", 0.0), book.leave("a", 0.0), book.leave("a", 0.0)] == [2, 3, None]


def test_a_debt_of_tokens_is_paid_off_with_time() -> None:
    book: QuotaBook[int] = QuotaBook()
    quota = Quota(tokens_per_minute=600)
    assert book.enter("a", quota, 1, 0.0)
    book.spend("a", 900, 0.0)  # 300 more than it had: half a minute's
    book.leave("a", 0.0)
    with pytest.raises(RateLimited) as refused:
        book.enter("a", quota, 2, 10.0)
    again = 10.0 + (refused.value.retry_after_s or 0)
    assert 30.0 <= again < 30.2
    assert book.enter("a", quota, 3, again), "who comes when it was told to is let in"


def test_who_has_nothing_open_and_no_debt_is_forgotten() -> None:
    book: QuotaBook[int] = QuotaBook()
    for client in range(100):
        book.enter(str(client), Quota(concurrent=1), client, 0.0)
        book.leave(str(client), 0.0)
    assert len(book) == 0


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(0, 500)), max_size=50))
def test_over_any_time_no_more_is_let_in_than_the_bucket_gives(asked: list[tuple[float, int]]) -> None:
    """But for the overdraft of the last answer, which nobody could know."""
    book: QuotaBook[int] = QuotaBook()
    quota, now, spent, last = Quota(tokens_per_minute=600), 0.0, 0, 0
    for pause_s, num_tokens in asked:
        now += pause_s
        with contextlib.suppress(RateLimited):
            book.enter("a", quota, 0, now)
            spent, last = spent + num_tokens, num_tokens
            book.spend("a", num_tokens, now)
            book.leave("a", now)
        assert spent - last <= 600 + 10 * now + 1e-6


@dataclass
class Model:
    """What must hold of one client: told by counting."""

    running: set[int] = field(default_factory=set)
    waiting: list[int] = field(default_factory=list)


class AnyOrder(RuleBasedStateMachine):
    """Clients come, leave and give up in any order."""

    quota = Quota(concurrent=2, queued=3)

    def __init__(self) -> None:
        super().__init__()
        self.book: QuotaBook[int] = QuotaBook()
        self.clients = {name: Model() for name in CLIENTS}
        self.next = 0

    @rule(name=st.sampled_from(CLIENTS))
    def come(self, name: str) -> None:
        client, ticket = self.clients[name], self.next
        self.next += 1
        try:
            has_place = self.book.enter(name, self.quota, ticket, 0.0)
        except RateLimited:
            assert (len(client.running), len(client.waiting)) == (2, 3)
            return
        assert has_place == (len(client.running) < 2)
        if has_place:
            client.running.add(ticket)
        else:
            client.waiting.append(ticket)

    @precondition(lambda self: any(client.running for client in self.clients.values()))
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from([name for name, client in self.clients.items() if client.running]))
        client = self.clients[name]
        client.running.remove(data.draw(st.sampled_from(sorted(client.running))))
        heir = self.book.leave(name, 0.0)
        assert heir == (client.waiting.pop(0) if client.waiting else None), "the first that came is next"
        if heir is not None:
            client.running.add(heir)

    @precondition(lambda self: any(client.waiting for client in self.clients.values()))
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from([name for name, client in self.clients.items() if client.waiting]))
        ticket = data.draw(st.sampled_from(self.clients[name].waiting))
        self.clients[name].waiting.remove(ticket)
        self.book.withdraw(name, ticket)

    @invariant()
    def nobody_waits_while_there_is_a_place(self) -> None:
        for client in self.clients.values():
            assert len(client.running) <= 2
            assert not client.waiting or len(client.running) == 2

    @invariant()
    def only_open_accounts_are_kept(self) -> None:
        assert len(self.book) == sum(bool(client.running or client.waiting) for client in self.clients.values())


TestAnyOrder = settings(max_examples=50, stateful_step_count=30)(AnyOrder).TestCase
