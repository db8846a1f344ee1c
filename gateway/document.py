"""A YAML document, read strictly, that can say of every value on which line it stands.

YAML keeps the last of two equal keys and reads `no` as false in silence; here the first is an error, and types are
checked by who asked for the document. `${VAR}` and `${VAR:-default}` are expanded in scalars after parsing, so that a
value can't change the document's structure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import yaml

Place = tuple[str | int, ...]


class ConfigError(Exception):
    """One line for the operator: file, line, path of the option, and what is wrong with it."""


class Document:
    """name: of the file, for errors. environment: what `${VAR}` stands for."""

    _variable = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")

    def __init__(self, name: str, environment: Mapping[str, str]) -> None:
        self.name = name
        self.environment = environment
        self.lines: dict[Place, int] = {}

    def read(self, text: str) -> Any:
        loader = yaml.SafeLoader(text)
        try:
            root = loader.get_single_node()
            return {} if root is None else self._value(root, (), loader)
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise ConfigError(f"{self.name}:{line}: {error.problem}") from None
        finally:
            loader.dispose()

    def error(self, place: Place, message: str) -> ConfigError:
        """The line is that of the nearest enclosing value, where the value itself is missing."""
        near = place
        while near not in self.lines and near:
            near = near[:-1]
        where = ".".join(map(str, place)) or "the document"
        return ConfigError(f"{self.name}:{self.lines.get(near, 1)}: {where}: {message}")

    def _value(self, node: yaml.Node, place: Place, loader: yaml.SafeLoader) -> Any:
        self.lines[place] = node.start_mark.line + 1
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place, loader)
        if isinstance(node, yaml.SequenceNode):
            return tuple(self._value(item, (*place, i), loader) for i, item in enumerate(node.value))
        return self._scalar(node, place, loader)

    def _mapping(self, node: yaml.MappingNode, place: Place, loader: yaml.SafeLoader) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = key_node.value
            if not isinstance(key, str):
                raise self.error(place, "a key must be a plain word")
            here = (*place, key)
            if key in values:
                self.lines[here] = key_node.start_mark.line + 1
                raise self.error(here, "the key stands here twice")
            values[key] = self._value(value_node, here, loader)
        return values

    def _scalar(self, node: yaml.Node, place: Place, loader: yaml.SafeLoader) -> Any:
        expanded = self._variable.sub(lambda found: self._expand(found, place), node.value)
        if expanded == node.value:
            return loader.construct_object(node)
        resolve: Callable[..., str] = loader.resolve  # a number that came from the environment is a number
        return loader.construct_object(yaml.ScalarNode(resolve(yaml.ScalarNode, expanded, (True, False)), expanded))

    def _expand(self, found: re.Match[str], place: Place) -> str:
        value = self.environment.get(found[1], found[2])
        if value is None:
            raise self.error(place, f"the environment has no {found[1]}, and ${{{found[1]}:-…}} gives no default")
        return value
