"""Who is next: intent classes, the most urgent first, and within a class deficit round robin between clients.

Every client has an account in each class, which is charged the tokens that the device evaluates for it, as they are
evaluated. Rounds are as long as a quantum of tokens: who has used up its own waits until all others who want something
have used theirs, and within a round clients take turns. What an answer will cost nobody knows beforehand, so it is paid
for afterwards: a debt is worked off by sitting rounds out (as with the virtual token counter of "Fairness in Serving
Large Language Models", Sheng et al., OSDI 2024).

Nobody starves. A class that was passed over as often as PATIENCE says is due: it goes first, once. Within a class, a
client waits for no more than the rounds that it is ahead of the others.

Pure: reads no clock, and knows nothing of what it is that waits.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from backends.request import Intent

T = TypeVar("T", bound=Hashable)

QUANTUM = 64
"""Tokens of a round: less than most answers, so that clients are hardly further apart than by what is under way."""

PATIENCE: Mapping[Intent, int] = {Intent.BULK: 32, Intent.AGENT: 16, Intent.CHAT: 8}
"""How often more urgent ones may be served before a class that waits. The least urgent first."""


@dataclass(slots=True, eq=False)
class _Account(Generic[T]):
    """A client's, in one class. used: tokens, and parts of those that it shared. turn: when it was served last,
    counted in all that were served; who is new comes before the last. num_open: what of it waits or is being served.
    waiting: in its own order."""

    intent: Intent
    client: str
    used: float
    turn: int
    num_open: int = 0
    waiting: list[T] = field(default_factory=list)

    def standing(self) -> tuple[float, int]:
        """Its round, and its turn within it: the lower, the sooner."""
        return self.used // QUANTUM, self.turn


@dataclass(slots=True)
class _Class(Generic[T]):
    """last_used: what the last client to leave had used."""

    accounts: dict[str, _Account[T]] = field(default_factory=dict)
    num_waiting: int = 0
    num_passed_over: int = 0
    last_used: float = 0

    @property
    def floor(self) -> float:
        """What a client that comes, or comes back, is taken to have used, so that it has neither credit nor debt."""
        return min((account.used for account in self.accounts.values()), default=self.last_used)

    def head(self) -> T | None:
        waiting = [account for account in self.accounts.values() if account.waiting]
        return min(waiting, key=_Account.standing).waiting[0] if waiting else None


class FairQueue(Generic[T]):
    """An item enters, is taken and perhaps put back any number of times, and leaves. rank: the order of a client's own
    items; the lower, the sooner."""

    def __init__(self, rank: Callable[[T], Any]) -> None:
        self._rank = rank
        self._classes: dict[Intent, _Class[T]] = {intent: _Class() for intent in Intent}
        self._account_of: dict[T, _Account[T]] = {}
        self._waiting: set[T] = set()
        self._num_taken = 0

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def enter(self, item: T, intent: Intent, client: str) -> None:
        """It waits, from now on."""
        among = self._classes[intent]
        account = among.accounts.get(client)
        if account is None:
            account = among.accounts[client] = _Account(intent, client, used=among.floor, turn=self._num_taken - 1)
        account.num_open += 1
        self._account_of[item] = account
        self.put_back(item)

    def put_back(self, item: T) -> None:
        """It was taken, and waits once more."""
        account = self._account_of[item]
        insort(account.waiting, item, key=self._rank)
        self._waiting.add(item)
        self._classes[account.intent].num_waiting += 1

    def take(self, item: T) -> None:
        """It is served. Less urgent classes that wait have been passed over once more."""
        account = self._account_of[item]
        self._drop(item, account)
        self._num_taken += 1
        account.turn = self._num_taken
        self._classes[account.intent].num_passed_over = 0
        for intent, among in self._classes.items():
            if among.num_waiting and intent > account.intent:
                among.num_passed_over += 1

    def leave(self, item: T) -> None:
        """It is done or given up, whether it waited or was taken."""
        account = self._account_of.pop(item)
        if item in self._waiting:
            self._drop(item, account)
        account.num_open -= 1
        if account.num_open == 0:
            among = self._classes[account.intent]
            among.last_used = account.used
            del among.accounts[account.client]

    def _drop(self, item: T, account: _Account[T]) -> None:
        account.waiting.remove(item)
        self._waiting.remove(item)
        among = self._classes[account.intent]
        among.num_waiting -= 1
        if among.num_waiting == 0:
            among.num_passed_over = 0

    def charge(self, item: T, num_tokens: int, paid_by: Sequence[str] = ()) -> None:
        """So many more tokens were evaluated for it. paid_by: the clients, of its class, who pay equal parts of them;
        none: its own alone. Of one that has nothing else here a debt would be forgotten, and its part is at once."""
        account = self._account_of[item]
        if not paid_by:
            account.used += num_tokens
            return
        accounts = self._classes[account.intent].accounts
        for client in paid_by:
            if client in accounts:
                accounts[client].used += num_tokens / len(paid_by)

    @property
    def due(self) -> Intent | None:
        """A class whose patience is at an end; of several, the least urgent, which has waited for longest."""
        return next((each for each, limit in PATIENCE.items() if self._classes[each].num_passed_over >= limit), None)

    def head(self) -> T | None:
        """Who is next."""
        due = self.due
        if due is not None:
            return self.head_of(due)
        return next((among.head() for among in self._classes.values() if among.num_waiting), None)

    def head_of(self, intent: Intent) -> T | None:
        """Who is next of one class."""
        return self._classes[intent].head()

    def order(self) -> Iterator[T]:
        """All who wait, as they would be served if all cost the same and nobody else came."""
        for among in self._classes.values():
            accounts = sorted(among.accounts.values(), key=_Account.standing)
            for turn in range(max((len(account.waiting) for account in accounts), default=0)):
                yield from (account.waiting[turn] for account in accounts if turn < len(account.waiting))
