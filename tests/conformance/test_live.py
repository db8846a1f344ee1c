"""The comparison with a running server, with ours in the other's place."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from tests.conformance.ground import Ground, running
from tests.conformance.live import MATRIX, differences, requests


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    with running(["engine"]) as ground:
        yield ground


@pytest.mark.parametrize("persona", MATRIX)
def test_a_server_is_like_itself_and_unlike_another(persona: str, ground: Ground) -> None:
    ours, another = ground.port("engine", persona), ground.port("engine", "anthropic")
    asked = list(itertools.islice(requests(persona), 0, None, 50))
    assert [request for request in asked if differences(persona, ours, ours, request)] == []
    assert [request for request in asked if differences(persona, another, ours, request)]
