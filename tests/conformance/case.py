"""One thing to check: a request, where it is sent, and what must hold of the answer."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from tests.conformance.wire import Answer, Request

GOLDEN = Path(__file__).parents[1] / "golden"

Column: TypeAlias = Literal["routes", "fields", "framing", "errors", "probes"]
COLUMNS: tuple[Column, ...] = get_args(Column)

Check: TypeAlias = Callable[[Answer], list[str]]
"""What is wrong with the answer, one line each; empty when nothing is."""

_FEATURES = (
    (r"/messages\b", "anthropic"),
    (r"/responses\b", "responses"),
    (r"/embed|rerank", "embeddings"),
    (r"/chat/completions/control|/v1/stream\b", "sessions"),
    (r"^/(metrics|lora-adapters|slots/|models/(load|unload)\b)", "management"),
    (r"^/api/(pull|push|create|copy|delete|blobs)\b", "management"),
    (r"/chat/completions/input_tokens", "management"),
    (r"^/extras/", "extras"),
)


@dataclass(frozen=True, slots=True)
class Case:
    """id: `<source>/<name>`. dialect: as in DIALECTS_SERVED. profile and persona: which of our listeners is asked."""

    id: str
    dialect: str
    column: Column
    profile: str
    persona: str
    request: Request
    check: Check

    @property
    def family(self) -> str:
        return family_of(self.dialect)


def family_of(dialect: str) -> str:
    """`llamacpp` of `llamacpp/embeddings`."""
    return dialect.partition("/")[0]


def with_feature(dialect: str, path: str) -> str:
    """`llamacpp` → `llamacpp/embeddings` where the path belongs to a part that is served or not by itself."""
    feature = next((name for pattern, name in _FEATURES if re.search(pattern, path)), dialect)
    return dialect if feature == dialect else f"{dialect}/{feature}"


def column_of(method: str, status: int, *, streams: bool, is_about_routes: bool) -> Column:
    if is_about_routes or method == "OPTIONS" or status == 405:
        return "routes"
    if status >= 400:
        return "errors"
    if method in {"GET", "HEAD"}:
        return "probes"
    return "framing" if streams else "fields"
