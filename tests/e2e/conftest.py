"""One Dragoman process for all end-to-end tests, started as an operator starts it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.e2e.gateway_process import Gateway, running_gateway

CONFIG = """
models:
  demo: {backend: engine}
"""


@pytest.fixture(scope="session")
def dragoman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Ends with a clean exit and a log without a bug, or the last test fails."""
    with running_gateway(tmp_path_factory.mktemp("dragoman"), CONFIG) as gateway:
        yield gateway


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients read these; a proxy in the environment would be asked for 127.0.0.1."""
    for name in os.environ:
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
