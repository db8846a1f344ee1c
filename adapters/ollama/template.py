"""A prompt template that came with a request, in Go's notation, filled with a prompt. Knows no route.

Without `.Messages` a template makes one turn of `.System`, `.Prompt` and `.Response`, and what stands behind the
response is left out, since the model is to write it. Wire facts: ollama template/template.go, Go's text/template.
"""

from __future__ import annotations

import functools
import operator
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from typing_extensions import assert_never

from adapters.ollama.errors import Fault
from adapters.ollama.json import go_json, quoted
from adapters.ollama.template_syntax import (
    Application,
    Assignment,
    Branch,
    Constant,
    Expression,
    Literal,
    Node,
    Output,
    Path,
    parse,
)

_Variables: TypeAlias = "ChainMap[str, Any]"

_NO_VALUE = "<no value>"
_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "not": lambda value: not value,
    "eq": lambda value, *others: any(value == other for other in others),
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "len": len,
    "index": lambda value, *keys: functools.reduce(operator.getitem, keys, value),
    "slice": lambda value, start=0, end=None: value[start:end],
    "json": lambda value: go_json(value).decode(),
}


class Template:
    """Raises Fault where the text is no template."""

    def __init__(self, text: str) -> None:
        self._nodes = parse(text)
        self._names = {name.lower() for node in self._nodes for name in _names(node)}

    def chat(self, *, system: str, prompt: str) -> str:
        """One question, perhaps with a system text. Raises Fault where the template can't be carried out."""
        if "messages" in self._names:
            turns = [("system", system), ("user", prompt)] if system else [("user", prompt)]
            messages = [{"Role": role, "Content": content} for role, content in turns]
            return _render(self._nodes, {"System": system, "Messages": messages, "Response": ""})
        nodes, _ = _until_response(self._nodes)
        return _render(nodes, {"System": system, "Prompt": prompt, "Response": ""})

    def fill_in(self, prompt: str, suffix: str) -> str:
        return _render(self._nodes, {"Prompt": prompt, "Suffix": suffix, "Response": ""})


def _names(node: Node) -> Iterator[str]:
    match node:
        case Literal():
            return
        case Output(expression) | Assignment(expression=expression):
            yield from _names_in(expression)
        case Branch():
            yield from _names_in(node.condition)
            for child in (*node.body, *node.otherwise):
                yield from _names(child)
        case _:
            assert_never(node)


def _names_in(expression: Expression) -> Iterator[str]:
    match expression:
        case Constant():
            return
        case Path():
            yield from expression.names
        case Application():
            for argument in expression.arguments:
                yield from _names_in(argument)
        case _:
            assert_never(expression)


def _until_response(nodes: Sequence[Node]) -> tuple[list[Node], bool]:
    """The nodes up to the first output of `.Response`, and whether there is one."""
    kept: list[Node] = []
    for node in nodes:
        ends = False
        if isinstance(node, Branch):
            body, ends = _until_response(node.body)
            otherwise, ends_otherwise = ([], False) if ends else _until_response(node.otherwise)
            ends = ends or ends_otherwise
            kept.append(Branch(node.keyword, node.condition, node.variables, body, otherwise))
        else:
            kept.append(node)
            ends = isinstance(node, Output) and "Response" in _names(node)
        if ends:
            return kept, True
    return kept, False


def _render(nodes: Sequence[Node], data: Mapping[str, Any]) -> str:
    try:
        return "".join(_written(nodes, data, ChainMap({"$": data})))
    except (TypeError, LookupError, AttributeError) as error:
        raise Fault(f'template: :1:1: executing "": {error}', param="template") from None


def _written(nodes: Sequence[Node], dot: Any, variables: _Variables) -> Iterator[str]:
    for node in nodes:
        match node:
            case Literal(text):
                yield text
            case Output(expression):
                yield _printed(_value(expression, dot, variables))
            case Assignment(name, expression, declares):
                scopes = variables.maps if not declares else variables.maps[:1]
                scope = next((scope for scope in scopes if name in scope), variables.maps[0])
                scope[name] = _value(expression, dot, variables)
            case Branch():
                yield from _branch(node, dot, variables)
            case _:
                assert_never(node)


def _branch(node: Branch, dot: Any, variables: _Variables) -> Iterator[str]:
    value = _value(node.condition, dot, variables)
    if not value:
        yield from _written(node.otherwise, dot, variables.new_child())
    elif node.keyword == "range":
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        for index, item in items:
            yield from _written(node.body, item, variables.new_child(_bound(node.variables, index, item)))
    else:
        yield from _written(
            node.body, dot if node.keyword == "if" else value, variables.new_child(_bound(node.variables, value))
        )


def _bound(names: Sequence[str], *values: Any) -> dict[str, Any]:
    """One name gets the last of the values; two get both."""
    return dict(zip(names, values[-len(names) :], strict=True)) if names else {}


def _value(expression: Expression, dot: Any, variables: _Variables) -> Any:
    match expression:
        case Constant(value):
            return value
        case Path(base, names):
            value = variables[base] if base else dot
            for name in names:
                value = value.get(name)
            return value
        case Application("and" | "or" as name, arguments) if arguments:
            for argument in arguments:
                value = _value(argument, dot, variables)
                if bool(value) is (name == "or"):
                    break
            return value
        case Application(name, arguments):
            if name not in _FUNCTIONS:
                raise Fault(f"template: :1: function {quoted(name)} not defined", param="template")
            return _FUNCTIONS[name](*(_value(argument, dot, variables) for argument in arguments))
        case _:
            assert_never(expression)


def _printed(value: Any) -> str:
    match value:
        case str():
            return value
        case None:
            return _NO_VALUE
        case _:
            return go_json(value).decode()
