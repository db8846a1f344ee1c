"""Who a client is: the name of its API key, or where it comes from and what it calls itself.

Whatever is decided by client (fairness, limits, who has been seen) goes by `Client.id`. Two editors on one machine
differ in their user agents; one editor keeps its id over all of its connections.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.keys import KeyRing, presented_keys

_MAX_AGENT = 200  # characters: what a client calls itself is its own choice, and we remember it


@dataclass(frozen=True, slots=True)
class Client:
    """address: of its connection, empty on a unix socket. agent: its User-Agent. key: the name of its API key in the
    config, None where it brought none that is there. foreign_key: one that it brought for whoever runs the model."""

    address: str
    agent: str = ""
    key: str | None = None
    foreign_key: str | None = field(default=None, repr=False, compare=False)

    @property
    def id(self) -> str:
        """The same for every request of one client, and of no other."""
        return f"key {self.key}" if self.key is not None else f"{self.address} {self.agent or '-'}"

    def __str__(self) -> str:
        """For the log: who it is, and what it runs."""
        name = f"{self.key} " if self.key is not None else ""
        return f"{name}{self.address} {self.agent or '-'}"


def identify(address: str | None, headers: Mapping[str, str], query: Mapping[str, str], keys: KeyRing) -> Client:
    """headers: case-insensitive. Without keys in the config none is looked for: clients send dummies."""
    presented = [*presented_keys(headers, query)]
    key = keys.name_of(presented) if keys else None
    agent = "".join(char for char in headers.get("User-Agent", "") if char.isprintable())
    return Client(address or "", agent[:_MAX_AGENT], key, keys.foreign(presented))
