from __future__ import annotations

import pytest

from gateway.changes import Changes, changes_between
from gateway.config import Config, parse

BEFORE = "a: {backend: engine}, b: {backend: engine, exclusive: tt}"


def config(models: str) -> Config:
    return parse(f"listeners: [{{port: 0, persona: openai}}]\nmodels: {{{models}}}", "test", {})


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (BEFORE, Changes()),
        (BEFORE + ", c: {backend: engine}", Changes(added=("c",))),
        ("a: {backend: engine}", Changes(removed=("b",))),
        (BEFORE.replace("a: {", "a: {window: 64, "), Changes(replaced=("a",))),
        (BEFORE.replace("exclusive: tt", "exclusive: other"), Changes(replaced=("b",))),
        ("a: {backend: vllm, model: m}, b: {backend: engine, exclusive: tt}", Changes(replaced=("a",))),
        (BEFORE.replace("a: {", "a: {aliases: [x], "), Changes(tuned=("a",))),
        (BEFORE.replace("a: {", "a: {unload_after_s: 5.0, load: demand, "), Changes(tuned=("a",))),
    ],
)
def test_only_what_changed_is_named(after: str, expected: Changes) -> None:
    assert changes_between(config(BEFORE), config(after), failed=()) == expected


def test_a_model_that_failed_gets_another_chance() -> None:
    assert changes_between(config(BEFORE), config(BEFORE), failed=["b"]) == Changes(replaced=("b",))
