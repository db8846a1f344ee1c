"""How much of the gateway one client may have: a policy. Pure: it is told the time, and wakes nobody itself.

A client that has its places in use waits for one of them, in its own queue and nobody else's; when that is full too, or
its tokens for the minute are spent, it is refused at once and told when to come again. Tokens are a bucket that fills
steadily and may be overdrawn by the answers that are running: what an answer costs nobody knows beforehand, so a
client with a debt waits until it is paid off.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from backends.errors import RateLimited
from gateway.config import Quota

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Account(Generic[T]):
    """tokens: what it may still use, as of `counted_at` seconds."""

    quota: Quota
    tokens: float
    counted_at: float
    num_running: int = 0
    waiting: deque[T] = field(default_factory=deque)

    def refill(self, now: float) -> None:
        per_minute = self.quota.tokens_per_minute
        if per_minute is not None:
            self.tokens = min(per_minute, self.tokens + (now - self.counted_at) * per_minute / 60)
        self.counted_at = now

    @property
    def has_room(self) -> bool:
        return self.quota.concurrent is None or self.num_running < self.quota.concurrent

    @property
    def is_idle(self) -> bool:
        per_minute = self.quota.tokens_per_minute
        return not self.num_running and not self.waiting and (per_minute is None or self.tokens >= per_minute)


class QuotaBook(Generic[T]):
    """T: what stands for a request that waits. A client is whatever string tells it from others."""

    def __init__(self) -> None:
        self._accounts: dict[str, _Account[T]] = {}

    def __len__(self) -> int:
        """Accounts that are kept: those of clients who have something open, or a debt."""
        return len(self._accounts)

    def enter(self, client: str, quota: Quota, ticket: T, now: float) -> bool:
        """Whether the ticket has a place at once; else it waits for one, until leave() or withdraw(). Raises
        RateLimited, and then nothing is kept."""
        account = self._account(client, quota, now)
        if quota.tokens_per_minute is not None and account.tokens <= 0:
            left_s = (1 - account.tokens) * 60 / quota.tokens_per_minute
            raise RateLimited(f"more than {quota.tokens_per_minute} tokens in a minute", retry_after_s=left_s)
        if account.has_room:
            account.num_running += 1
            return True
        if quota.queued is not None and len(account.waiting) >= quota.queued:
            raise RateLimited(
                f"more than {quota.concurrent} requests at once, and {quota.queued} that wait", retry_after_s=1
            )
        account.waiting.append(ticket)
        return False

    def spend(self, client: str, num_tokens: int, now: float) -> None:
        """Only where somebody keeps account of the client."""
        account = self._accounts.get(client)
        if account is not None:
            account.refill(now)
            account.tokens -= num_tokens

    def leave(self, client: str, now: float) -> T | None:
        """A ticket that had a place is done. Returns the one that has the place now, if one waited."""
        account = self._accounts[client]
        account.num_running -= 1
        if account.waiting and account.has_room:
            account.num_running += 1
            return account.waiting.popleft()
        self._forget_idle(now)
        return None

    def withdraw(self, client: str, ticket: T) -> None:
        """A ticket that waits does so no more."""
        self._accounts[client].waiting.remove(ticket)

    def _account(self, client: str, quota: Quota, now: float) -> _Account[T]:
        account = self._accounts.get(client)
        if account is None:
            account = self._accounts[client] = _Account(quota, quota.tokens_per_minute or 0, now)
        account.quota = quota  # the config may have changed
        account.refill(now)
        return account

    def _forget_idle(self, now: float) -> None:
        for client, account in list(self._accounts.items()):
            account.refill(now)
            if account.is_idle:
                del self._accounts[client]
