"""From a request's method and path to its route. Knows how paths are misspelt, and no path by name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from gateway.routes import PREFIXES, ROUTES, Route


@dataclass(frozen=True, slots=True)
class Match:
    """path: as the table spells it, whatever prefix the client wrote. params: what the route's braces stand for."""

    route: Route
    path: str
    params: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class WrongMethod:
    """The path exists, with these methods."""

    allowed: Sequence[str]


@dataclass(frozen=True, slots=True)
class Unknown:
    """nearest: the most similar route that exists, or None when nothing comes close."""

    nearest: Route | None


class RouteTable:
    """Finds the route for a request. Fixed once built; static paths are one dictionary look-up.

    own: paths that the operator added, each with its verb: they come before all others.
    """

    def __init__(self, routes: Sequence[Route] = ROUTES, own: Mapping[str, str] | None = None) -> None:
        self._static: dict[str, dict[str, Route]] = {}
        self._patterns: list[Route] = []
        for route in (*_added(own or {}, routes), *routes):
            if "{" in route.path:
                self._patterns.append(route)
            else:
                self._static.setdefault(normalise(route.path).lower(), {}).setdefault(route.method, route)

    def find(self, method: str, path: str) -> Match | WrongMethod | Unknown:
        """HEAD asks for what GET would answer, unless it has a route of its own."""
        tidy = normalise(path)
        allowed: set[str] = set()
        for spelling in _spellings(tidy):
            routes = self._at(spelling)
            for wanted in ("HEAD", "GET") if method == "HEAD" else (method,):
                if wanted in routes:
                    return _match(routes[wanted], spelling)
            allowed |= routes.keys()
        return WrongMethod(sorted(allowed)) if allowed else Unknown(self._nearest(method, tidy.lower()))

    def _at(self, path: str) -> Mapping[str, Route]:
        """By method; of several patterns that fit, the first in the table."""
        static = self._static.get(path.lower())
        if static:
            return static
        found: dict[str, Route] = {}
        for route in self._patterns:
            if _pattern(route.path).fullmatch(path):
                found.setdefault(route.method, route)
        return found

    def _nearest(self, method: str, path: str) -> Route | None:
        """Same method first: a POST that went astray was hardly meant to be a GET."""
        for methods in ({method}, {"GET", "POST"} - {method}):
            paths = [path for path, routes in self._static.items() if methods & routes.keys()]
            near = difflib.get_close_matches(path, paths, n=1, cutoff=0.75)  # /nope is not nearly /info
            if near:
                routes = self._static[near[0]]
                return next(routes[method] for method in methods if method in routes)
        return None


def _added(own: Mapping[str, str], routes: Sequence[Route]) -> Iterator[Route]:
    """An operator's path answers to the methods that its verb has elsewhere."""
    for path, verb in own.items():
        for method in sorted({route.method for route in routes if verb in route.verbs}):
            yield Route(method, path, verb)


def _spellings(path: str) -> Iterator[str]:
    """The path as it is, then as it may have been meant."""
    yield path
    for prefix in PREFIXES:
        rest = path[len(prefix) :]
        if path.lower().startswith(prefix) and rest.startswith("/") and rest != "/":
            yield "/v1" + rest
            yield rest


def _match(route: Route, path: str) -> Match:
    params = _pattern(route.path).fullmatch(path)
    return Match(route, path if params and params.groupdict() else route.path, params.groupdict() if params else {})


def normalise(path: str) -> str:
    """`//v1//models/` → `/v1/models`; blanks come from a base URL that was pasted with one."""
    return "/" + "/".join(part.strip() for part in path.split("/") if part.strip())


@cache
def _pattern(path: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", path)
    names = (f"(?P<{name}>.+)" for name in parts[1::2])
    fixed = (re.escape(text) for text in parts[::2])
    return re.compile("".join(x for pair in zip(fixed, [*names, ""], strict=True) for x in pair), re.IGNORECASE)
