"""Runs every client and prints the table; says which failed."""

from __future__ import annotations

import asyncio
import logging
import sys

import structlog

from tests.clients.run import all_clients, cases, run
from tests.clients.table import table


async def main() -> int:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    clients, done = all_clients(), dict[tuple[str, str], bool]()
    for client in clients:
        for case in cases(client):
            try:
                await run(case)
                well = True
            except Exception as failure:
                print(f"{case}: {failure!r}", file=sys.stderr)
                well = False
            key = (client.name, case.column)
            done[key] = well and done.get(key, True)
    print(table(clients, done))
    return 0 if all(done.values()) else 1


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
