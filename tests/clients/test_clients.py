"""Every client's requests, on every listener that its users point it at: it reads what the model said, and when it
leaves the generation ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.run import COLUMNS, Case, all_clients, cases, run
from tests.clients.table import table

CLIENTS = all_clients()
DOCUMENT = Path(__file__).parents[2] / "docs" / "clients.md"


@pytest.mark.parametrize("case", [case for client in CLIENTS for case in cases(client)], ids=str)
async def test_a_client_gets_what_it_reads(case: Case) -> None:
    await run(case)


def test_the_document_lists_every_client() -> None:
    done = {(client.name, case.column): True for client in CLIENTS for case in cases(client)}
    shown = DOCUMENT.read_text().partition("\n\n|")[2]
    assert f"|{shown}" == table(CLIENTS, done) + "\n", "run: python -m tests.clients, and paste it into docs/clients.md"


def test_every_client_does_something_and_has_one_name() -> None:
    assert len({client.name for client in CLIENTS}) == len(CLIENTS)
    for client in CLIENTS:
        assert {case.column for case in cases(client)} - {"probe", "cancel"} <= set(COLUMNS)
