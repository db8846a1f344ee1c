"""Where chat templates run: jinja's sandbox, with an end to what one rendering may do.

A template comes with a model from anywhere, and its mistakes must cost only the request that finds them. Loops, calls,
filters and the texts that it puts together are paid for from a budget, before they are made where they could be much
longer than what they are made of; and what is left, such as comparisons, ends with its time.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from backends.engine.growth import GROWTHS

BUDGET = "the budget"
"""The variable that holds it: its blank keeps it from templates."""

MAX_STEPS = 2_000_000
"""Turns of loops: a second or two. A chat of a thousand messages, each of which looks at all, needs half."""

MAX_S = 10.0
"""Of the thread's own time: nobody else's work counts."""

STEPS_PER_CALL = 4
"""Of a macro, a function or a method."""

CHARS_PER_STEP = 256
"""Of a text that is put together: half a billion characters for all steps."""

ITEMS_PER_STEP = 8
"""Of a list or an object that a filter looks at."""

MAX_BITS = 10_000
"""Of a whole number."""

_LOOK_EVERY = 256  # payments, at the clock

_OF_ITEMS = frozenset({
    "attr", "batch", "count", "d", "default", "dictsort", "first", "groupby", "items", "last", "length", "list", "map",
    "max", "min", "random", "reject", "rejectattr", "reverse", "select", "selectattr", "slice", "sort", "sum", "unique",
})  # fmt: skip
"""Filters that make no text of their value."""


@dataclass(slots=True)
class Budget:
    """Of one rendering, in the thread that makes it."""

    num_steps: int = MAX_STEPS
    _ends_at: float = field(default_factory=lambda: time.thread_time() + MAX_S)
    _num_paid: int = 0

    def spend(self, num_steps: int = 1) -> None:
        """Raises jinja2.TemplateError when there is nothing left."""
        self.num_steps -= num_steps
        self._num_paid += 1
        is_late = self._num_paid % _LOOK_EVERY == 0 and time.thread_time() > self._ends_at
        if self.num_steps < 0 or is_late:
            raise jinja2.TemplateError("the chat template does more than any chat needs")

    def pay_for_text_of(self, value: Any) -> None:
        """What is nested may hold the same again and again: its text is longer than all of its parts."""
        if isinstance(value, str):  # as most are
            return self.spend(len(value) // CHARS_PER_STEP)
        parts = [value]
        while parts:
            match parts.pop():
                case str() | bytes() as text:
                    self.spend(len(text) // CHARS_PER_STEP)
                case dict() as items:
                    self.spend(1 + len(items))
                    parts += [*items, *items.values()]
                case list() | tuple() | set() | frozenset() as items:
                    self.spend(1 + len(items))
                    parts += items
                case _:
                    pass
        return None

    def pay_for_growth(self, name: str, value: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """By a filter or a method of that name."""
        growth = GROWTHS.get(name)
        if growth is not None:
            with contextlib.suppress(TypeError, ValueError, AttributeError):  # what is asked wrongly grows nothing
                self.spend(max(0, growth(value, *args, **kwargs)) // CHARS_PER_STEP)


class Sandbox(ImmutableSandboxedEnvironment):
    """Every rendering needs a Budget among its variables, under BUDGET."""

    intercepted_binops = frozenset(("+", "*", "**", "%"))

    def __init__(self, **options: Any) -> None:
        super().__init__(finalize=_finalized, **options)
        self.filters["join"] = _join
        self.globals.pop("lipsum")  # any number of paragraphs

    def pay_for_filters(self) -> None:
        """Those that there are by now. Called once, before any template is read."""
        for name, function in self.filters.items():
            self.filters[name] = _paid(name, function)
        self.filters.update(counted=_counted, joined=_joined)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for loop in tree.find_all(nodes.For):
            loop.iter = _filtered(loop.iter, "counted")
        for texts in tree.find_all(nodes.Concat):
            texts.nodes = [_filtered(nodes.List(texts.nodes, lineno=texts.lineno), "joined")]
        return tree

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        budget = _budget(context)
        if operator == "%" and isinstance(left, str):
            budget.pay_for_text_of(right)
            budget.pay_for_growth("format", left, (right,), {})
        else:
            budget.spend(_cost(operator, left, right))
        return super().call_binop(context, operator, left, right)

    def call(self, context: Context, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        budget = _budget(context)
        budget.spend(STEPS_PER_CALL)
        _pay_for_method(budget, function, args, kwargs)
        result = super().call(context, function, *args, **kwargs)
        match result:
            case range():
                budget.spend(len(result))
            case str() | bytes():
                budget.spend(len(result) // CHARS_PER_STEP)
            case list():
                budget.spend(len(result) // ITEMS_PER_STEP)
            case _:
                pass
        return result


def _pay_for_method(budget: Budget, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    method = getattr(function, "__wrapped__", function)  # jinja has its own for `format`
    owner, name = getattr(method, "__self__", None), getattr(method, "__name__", "")
    if not isinstance(owner, str | bytes | int):
        return
    if name == "join" and args:
        args = (items := list(args[0]),)
        budget.pay_for_text_of(items)
        budget.spend(len(items) * len(owner) // CHARS_PER_STEP)  # type: ignore[arg-type]
    elif name in ("format", "format_map"):
        budget.pay_for_text_of([*args, *kwargs.values()])
    budget.pay_for_growth(name, owner, args, kwargs)


def _paid(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The filter, paid for."""
    wants = getattr(getattr(function, "jinja_pass_arg", None), "name", "")

    @jinja2.pass_context
    def paid(context: Context, value: Any, *args: Any, **kwargs: Any) -> Any:
        budget = _budget(context)
        if name not in _OF_ITEMS:
            budget.pay_for_text_of(value)
        elif isinstance(value, list | tuple | dict):
            budget.spend(len(value) // ITEMS_PER_STEP)
        if name == "format":
            budget.pay_for_text_of([*args, *kwargs.values()])
        budget.pay_for_growth(name, value, args, kwargs)
        passed = {"context": (context,), "eval_context": (context.eval_ctx,), "environment": (context.environment,)}
        result = function(*passed.get(wants, ()), value, *args, **kwargs)
        if isinstance(result, str):
            budget.spend(len(result) // CHARS_PER_STEP)
        return result

    return paid


def _budget(context: Context) -> Budget:
    budget: Budget = context[BUDGET]
    return budget


def _filtered(node: nodes.Node, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


@jinja2.pass_context
def _finalized(context: Context, value: Any) -> Any:
    """Everything that is written passes here."""
    _budget(context).pay_for_text_of(value)
    return value


@jinja2.pass_context
def _counted(context: Context, items: Iterable[Any]) -> Iterator[Any]:
    budget = _budget(context)
    for item in items:
        budget.spend()
        yield item


@jinja2.pass_context
def _joined(context: Context, parts: list[Any]) -> str:
    _budget(context).pay_for_text_of(parts)
    return "".join(map(str, parts))


@jinja2.pass_context
def _join(context: Context, value: Iterable[Any], d: str = "", attribute: str | int | None = None) -> str:
    """jinja's, of items that are counted first."""
    if attribute is not None:
        value = map(jinja2.filters.make_attrgetter(context.environment, attribute), value)
    budget, items = _budget(context), list(value)
    budget.pay_for_text_of(items)
    budget.spend(len(items) * len(str(d)) // CHARS_PER_STEP)
    return str(d).join(map(str, items))


def _cost(operator: str, left: Any, right: Any) -> int:
    """In steps, before it is done."""
    match operator, left, right:
        case "+", str() | list() | tuple(), _:
            return (len(left) + _len(right)) // CHARS_PER_STEP
        case "*", str() | bytes() | list() | tuple(), int():
            return len(left) * right // CHARS_PER_STEP
        case "*", int(), str() | bytes() | list() | tuple():
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
