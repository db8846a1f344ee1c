"""Who has been seen, and what went wrong for whom: what `GET /gateway/clients` and `dragoman clients` tell.

In memory and bounded, because what is counted comes from clients: the least recent are forgotten. Knows no HTTP.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from gateway.client import Client
from gateway.routes import Route

_MAX_CLIENTS = 200
_MAX_NAMES = 50  # of each kind, for each client
_MAX_LENGTH = 200  # characters of a name


class Tally:
    """How often each name came up, most recent last."""

    def __init__(self) -> None:
        self.counts: OrderedDict[str, int] = OrderedDict()

    def add(self, name: str) -> None:
        short = name[:_MAX_LENGTH]
        self.counts[short] = self.counts.pop(short, 0) + 1
        if len(self.counts) > _MAX_NAMES:
            self.counts.popitem(last=False)


@dataclass(slots=True)
class Seen:
    """One client. unknown: routes that nobody serves, with what would map each in the config, None where nothing comes
    close. errors: by status and message. first and last: seconds since the epoch."""

    client: Client
    first: float
    last: float
    num_requests: int = 0
    dialects: Tally = field(default_factory=Tally)
    routes: Tally = field(default_factory=Tally)
    errors: Tally = field(default_factory=Tally)
    ignored: Tally = field(default_factory=Tally)
    unknown: Tally = field(default_factory=Tally)
    mappings: dict[str, str | None] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        unknown = [
            {"route": route, "count": count, "config": self.mappings.get(route)}
            for route, count in self.unknown.counts.items()
        ]
        tallies = {name: getattr(self, name).counts for name in ("dialects", "routes", "errors", "ignored")}
        return {
            "id": self.client.id,
            "agent": self.client.agent,
            "address": self.client.address,
            "key": self.client.key,
            "first_seen": self.first,
            "last_seen": self.last,
            "requests": self.num_requests,
            **tallies,
            "unknown": unknown,
        }


class Clients:
    """Everybody that asked something of this gateway, on whichever listener."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, Seen] = OrderedDict()

    def all(self) -> Iterable[Seen]:
        """The most recent first."""
        return reversed(self._seen.values())

    def note(
        self, client: Client, route: str, verb: str, *, now: float, status: int, error: str, ignored: Iterable[str]
    ) -> None:
        """verb: empty where none was found. error: empty where there was none."""
        seen = self._of(client, now)
        seen.num_requests += 1
        if verb:
            seen.routes.add(route)
            seen.dialects.add(verb.partition(".")[0])
        if error or status >= 400:
            seen.errors.add(f"{status} {error or route}")
        for name in dict.fromkeys(ignored):
            seen.ignored.add(name)

    def note_unknown(self, client: Client, method: str, path: str, nearest: Route | None, *, now: float) -> bool:
        """True where it is news."""
        seen = self._of(client, now)
        route = f"{method} {path}"[:_MAX_LENGTH]
        is_news = route not in seen.unknown.counts
        seen.unknown.add(route)
        seen.mappings[route] = mapping(path, nearest) if nearest else None
        for forgotten in seen.mappings.keys() - seen.unknown.counts.keys():
            del seen.mappings[forgotten]
        return is_news

    def _of(self, client: Client, now: float) -> Seen:
        seen = self._seen.pop(client.id, None) or Seen(client, now, now)
        self._seen[client.id] = seen
        seen.last = now
        if len(self._seen) > _MAX_CLIENTS:
            self._seen.popitem(last=False)
        return seen


def mapping(path: str, nearest: Route) -> str:
    """The line of the config that would serve the path as the route is served."""
    quoted = path[:_MAX_LENGTH].replace("'", "''")
    return f"routes: {{'{quoted}': {nearest.verb}}}"
