"""Imports point one way: backends ← adapters ← gateway; and heavy or foreign packages stay where they belong."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted(path for layer in ("backends", "adapters", "gateway") for path in (ROOT / layer).rglob("*.py"))

MAY_NOT_IMPORT = {
    "backends": {"adapters", "gateway"},
    "adapters": {"gateway", "aiohttp", "httpx", "structlog"},
    "gateway": {"numpy", "tokenizers"},
}
ONLY_IN = {
    "torch": ("backends/engine/tt_runner.py", "backends/engine/demo/train.py"),
    "ttnn": ("backends/engine/tt_runner.py",),
    "models": ("backends/engine/tt_runner.py",),
}


def imports(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module


def broken_rules(name: str, source: str) -> Iterator[str]:
    layer = name.partition("/")[0]
    for module in imports(source):
        package = module.partition(".")[0]
        if package in MAY_NOT_IMPORT[layer]:
            yield f"{name} imports {module}: {layer} may not know {package}"
        if package in ONLY_IN and not name.startswith(ONLY_IN[package]):
            yield f"{name} imports {module}: only {' and '.join(ONLY_IN[package])} may"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_point_one_way(path: Path) -> None:
    assert not list(broken_rules(path.relative_to(ROOT).as_posix(), path.read_text()))


def test_the_rules_can_fail() -> None:
    source = "import torch\nfrom gateway.app import running\n"
    assert list(broken_rules("backends/wrong.py", source)) == [
        "backends/wrong.py imports torch: only backends/engine/tt_runner.py and backends/engine/demo/train.py may",
        "backends/wrong.py imports gateway.app: backends may not know gateway",
    ]
