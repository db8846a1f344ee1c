"""Clients × (probe, complete, chat, stream, cancel), as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.clients.client import Client
from tests.clients.run import COLUMNS


def table(clients: Sequence[Client], done: Mapping[tuple[str, str], bool]) -> str:
    """done: did it go well, by client and column; absent where the client does no such thing."""
    words = {True: "yes", False: "**no**", None: ""}
    rows = [
        [client.name, *(words[done.get((client.name, column))] for column in COLUMNS), ", ".join(client.listeners)]
        for client in clients
    ]
    head = ["client", *COLUMNS, "listeners"]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows))
