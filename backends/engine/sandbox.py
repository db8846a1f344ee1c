"""Where chat templates run: jinja's sandbox, with an end to what one rendering may do.

A template comes with a model from anywhere, and its mistakes must cost only the request that finds them. Loops, calls
and the texts that it puts together are paid for from a budget. Not bounded: what one filter or one method does by
itself, such as `center` with a huge width, and the texts of blocks (`{% set x %}…`) but by the loops around them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

BUDGET = "the budget"
"""The variable that holds it: its blank keeps it from templates."""

MAX_STEPS = 2_000_000
"""Turns of loops: a second or two. A chat of a thousand messages, each of which looks at all, needs half."""

STEPS_PER_CALL = 4
"""Of a macro, a function or a method."""

CHARS_PER_STEP = 256
"""Of a text that is put together: half a billion characters for all steps."""

MAX_BITS = 10_000
"""Of a whole number."""


@dataclass(slots=True)
class Budget:
    """Of one rendering."""

    num_steps: int = MAX_STEPS

    def spend(self, num_steps: int = 1) -> None:
        """Raises jinja2.TemplateError when there is nothing left."""
        self.num_steps -= num_steps
        if self.num_steps < 0:
            raise jinja2.TemplateError("the chat template does more than any chat needs")


class Sandbox(ImmutableSandboxedEnvironment):
    """Every rendering needs a Budget among its variables, under BUDGET."""

    intercepted_binops = frozenset(("+", "*", "**"))

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.filters.update(counted=_counted, joined=_joined)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for loop in tree.find_all(nodes.For):
            loop.iter = _filtered(loop.iter, "counted")
        for texts in tree.find_all(nodes.Concat):
            texts.nodes = [_filtered(nodes.List(texts.nodes, lineno=texts.lineno), "joined")]
        return tree

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        _budget(context).spend(_cost(operator, left, right))
        return super().call_binop(context, operator, left, right)

    def call(self, context: Context, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        _budget(context).spend(STEPS_PER_CALL)
        result = super().call(context, function, *args, **kwargs)
        match result:
            case range():
                _budget(context).spend(len(result))
            case str():
                _budget(context).spend(len(result) // CHARS_PER_STEP)
            case _:
                pass
        return result


def _budget(context: Context) -> Budget:
    budget: Budget = context[BUDGET]
    return budget


def _filtered(node: nodes.Node, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


@jinja2.pass_context
def _counted(context: Context, items: Iterable[Any]) -> Iterator[Any]:
    budget = _budget(context)
    for item in items:
        budget.spend()
        yield item


@jinja2.pass_context
def _joined(context: Context, parts: list[Any]) -> str:
    texts = [str(part) for part in parts]
    _budget(context).spend(sum(map(len, texts)) // CHARS_PER_STEP)
    return "".join(texts)


def _cost(operator: str, left: Any, right: Any) -> int:
    """In steps, before it is done."""
    match operator, left, right:
        case "+", str() | list() | tuple(), _:
            return (len(left) + _len(right)) // CHARS_PER_STEP
        case "*", str() | list() | tuple(), int():
            return len(left) * right // CHARS_PER_STEP
        case "*", int(), str() | list() | tuple():
            return left * len(right) // CHARS_PER_STEP
        case "*", int(), int():
            return _cost_of_bits(left.bit_length() + right.bit_length())
        case "**", int(), int():
            return _cost_of_bits(left.bit_length() * max(right, 0))
        case _:
            return 0


def _len(value: Any) -> int:
    return len(value) if isinstance(value, str | list | tuple) else 0


def _cost_of_bits(num_bits: int) -> int:
    return MAX_STEPS + 1 if num_bits > MAX_BITS else 0
