"""Go's text/template notation → nodes, as far as prompt templates use it. Knows nothing of prompts.

Text, output, `if`, `with`, `range`, variables, pipelines and parentheses; no `define`, `template`, `block`, `break`.
Wire facts: Go's text/template/parse.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

import orjson

from adapters.ollama.errors import Fault
from adapters.ollama.json import quoted

_ACTION = re.compile(
    r"""\{\{(?P<left>-\s)?
    (?P<inside>(?: /\*(?:[^*]|\*(?!/))*\*/ | "(?:\\.|[^"\\])*" | `[^`]*` | (?!/\*)[^"`}] | \}(?!\}) )*)
    \}\}""",
    re.VERBOSE,
)
_TOKEN = re.compile(
    r"""(?P<string> "(?:\\.|[^"\\])*" | `[^`]*` )
    | (?P<number> -?\d+(?:\.\d+)? )
    | (?P<path> \$\w*(?:\.\w+)* | (?:\.\w+)+ | \. )
    | (?P<word> [A-Za-z_]\w* )
    | (?P<sign> := | [=|(),] )
    | (?P<blank> \s+ | /\*(?:[^*]|\*(?!/))*\*/ )""",
    re.VERBOSE,
)
_BLANKS = " \t\r\n"
_CONSTANTS: dict[str, bool | None] = {"true": True, "false": False, "nil": None}
_BRANCHES = ("if", "with", "range")
_MAX_DEPTH = 50


@dataclass(frozen=True, slots=True)
class Constant:
    value: str | float | bool | None


@dataclass(frozen=True, slots=True)
class Path:
    """`.A.B` is ("", ("A", "B")); `$x.A` is ("$x", ("A",))."""

    base: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Application:
    function: str
    arguments: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Literal:
    text: str


@dataclass(frozen=True, slots=True)
class Output:
    expression: Expression


@dataclass(frozen=True, slots=True)
class Assignment:
    """declares: the variable is new in its block."""

    name: str
    expression: Expression
    declares: bool


@dataclass(slots=True)
class Branch:
    """keyword: `if`, `with` or `range`. variables: what holds the index and the element, or the element alone."""

    keyword: str
    condition: Expression
    variables: tuple[str, ...] = ()
    body: list[Node] = field(default_factory=list)
    otherwise: list[Node] = field(default_factory=list)


Expression: TypeAlias = Constant | Path | Application
Node: TypeAlias = Literal | Output | Assignment | Branch
_Token: TypeAlias = tuple[str, str]


def parse(text: str) -> list[Node]:
    """Raises Fault, with the line, in words near to Go's."""
    return _Parser(text).parse()


class _Action:
    """The tokens of one `{{ … }}`, taken from the left."""

    def __init__(self, inside: str, line: int) -> None:
        self._line = line
        self._depth = 0
        self._tokens: deque[_Token] = deque(self._split(inside))

    def _split(self, inside: str) -> Iterator[_Token]:
        at = 0
        while at < len(inside):
            found = _TOKEN.match(inside, at)
            if found is None or found.lastgroup is None:
                raise self.error(f"unexpected {quoted(inside[at])} in command")
            at = found.end()
            if found.lastgroup != "blank":
                yield found.lastgroup, found[0]

    def error(self, message: str) -> Fault:
        return Fault(f"template: :{self._line}: {message}", param="template")

    def next_is(self, kind: str, *texts: str) -> bool:
        return bool(self._tokens) and self._tokens[0][0] == kind and (not texts or self._tokens[0][1] in texts)

    def take(self, kind: str, *texts: str) -> str | None:
        return self._tokens.popleft()[1] if self.next_is(kind, *texts) else None

    @property
    def is_empty(self) -> bool:
        return not self._tokens

    def end(self) -> None:
        if self._tokens:
            raise self.error(f"unexpected {quoted(self._tokens[0][1])} in command")

    def variables(self) -> tuple[str, ...]:
        """`$i, $x :=` in front of a pipeline; nothing where there are none."""
        signs = [token[1] for token in self._tokens]
        if ":=" not in signs:
            return ()
        names = signs[: signs.index(":=")]
        for _ in range(len(names) + 1):
            self._tokens.popleft()
        return tuple(name for name in names if name != ",")

    def pipeline(self) -> Expression:
        """`a | f b` is `f b a`."""
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise self.error("the expression is nested too deeply")
        value = self._command()
        while self.take("sign", "|"):
            command = self._command()
            if not isinstance(command, Application):
                raise self.error("non executable command in pipeline")
            value = Application(command.function, (*command.arguments, value))
        self._depth -= 1
        return value

    def _command(self) -> Expression:
        function = self.take("word") if self.next_is("word") and not self.next_is("word", *_CONSTANTS) else None
        if function is None:
            return self._operand()
        arguments = []
        while self._tokens and not self.next_is("sign", "|", ")"):
            arguments.append(self._operand())
        return Application(function, tuple(arguments))

    def _operand(self) -> Expression:
        if not self._tokens:
            raise self.error("missing value for command")
        kind, text = self._tokens.popleft()
        match kind, text:
            case "string", _:
                return Constant(self._string(text))
            case "number", _:
                return Constant(float(text) if "." in text else int(text))
            case "path", _:
                base, *names = text.split(".")
                return Path(base, tuple(name for name in names if name))
            case "word", _ if text in _CONSTANTS:
                return Constant(_CONSTANTS[text])
            case "word", _:
                return Application(text, ())
            case "sign", "(":
                value = self.pipeline()
                if not self.take("sign", ")"):
                    raise self.error("unclosed left paren")
                return value
            case _:
                raise self.error(f"unexpected {quoted(text)} in operand")

    def _string(self, text: str) -> str:
        if text.startswith("`"):
            return text[1:-1]
        try:
            return str(orjson.loads(text))
        except orjson.JSONDecodeError:
            raise self.error(f"invalid syntax in {text}") from None


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._line = 1
        self._items = deque(self._split(text))

    def _split(self, text: str) -> Iterator[str | _Action]:
        """Text and actions in turn, blanks taken away where an action says so."""
        at, trims = 0, False
        while (start := text.find("{{", at)) >= 0:
            found = _ACTION.match(text, start)
            line = text.count("\n", 0, start) + 1
            if found is None:
                raise Fault(f"template: :{line}: unclosed action", param="template")
            yield _trimmed(text[at:start], left=trims, right=found["left"] is not None)
            inside = found["inside"]
            trims = inside[-1:] == "-" and inside[-2:-1] in (" ", "\t", "\r", "\n")
            yield _Action(inside[:-1] if trims else inside, line)
            at = found.end()
        yield _trimmed(text[at:], left=trims, right=False)

    def parse(self) -> list[Node]:
        nodes, ending = self._list(0)
        if ending is not None:
            raise ending.error("unexpected {{end}} or {{else}}")
        return nodes

    def _list(self, depth: int) -> tuple[list[Node], _Action | None]:
        """The nodes up to an `else` or an `end`, which is given back without its first word only if it is `else`."""
        nodes: list[Node] = []
        while self._items:
            item = self._items.popleft()
            if isinstance(item, str):
                nodes += [Literal(item)] if item else []
            elif item.next_is("word", "else", "end"):
                return nodes, item
            elif not item.is_empty:
                nodes.append(self._node(item, depth))
        return nodes, None

    def _node(self, action: _Action, depth: int) -> Node:
        if keyword := action.take("word", *_BRANCHES):
            return self._branch(keyword, action, depth + 1)
        variables = action.variables()
        if variables:
            node: Node = Assignment(variables[-1], action.pipeline(), declares=True)
        else:
            value = action.pipeline()
            is_assignment = isinstance(value, Path) and not value.names and bool(action.take("sign", "="))
            node = (
                Assignment(value.base, action.pipeline(), declares=False)
                if is_assignment and isinstance(value, Path)
                else Output(value)
            )
        action.end()
        return node

    def _branch(self, keyword: str, action: _Action, depth: int) -> Branch:
        if depth > _MAX_DEPTH:
            raise action.error("the blocks are nested too deeply")
        variables = action.variables()
        branch = Branch(keyword, action.pipeline(), variables)
        action.end()
        branch.body, ending = self._list(depth)
        if ending is not None and ending.take("word", "else"):
            if again := ending.take("word", "if", "with"):
                branch.otherwise = [self._branch(again, ending, depth + 1)]
                return branch  # the one `end` closes both
            ending.end()
            branch.otherwise, ending = self._list(depth)
        if ending is None or not ending.take("word", "end"):
            raise action.error("unexpected EOF")
        ending.end()
        return branch


def _trimmed(text: str, *, left: bool, right: bool) -> str:
    text = text.lstrip(_BLANKS) if left else text
    return text.rstrip(_BLANKS) if right else text
