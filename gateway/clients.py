"""`dragoman clients`: asks the running gateway who has been seen, and prints it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import httpx

from gateway.config import Listener
from gateway.control import PREFIX


class NotRunning(Exception):
    """No gateway answers at any address of the config."""


def ask(listeners: Sequence[Listener]) -> Sequence[Mapping[str, Any]]:
    """The clients, as `GET /gateway/clients` tells them. Raises NotRunning."""
    urls = [f"http://{_reachable(listener.host)}:{listener.port}{PREFIX}/clients" for listener in listeners]
    for url in urls:
        try:
            answer = httpx.get(url, timeout=5, trust_env=False)
            found: Sequence[Mapping[str, Any]] = answer.raise_for_status().json()["clients"]
            return found
        except (httpx.HTTPError, ValueError, LookupError):
            continue
    raise NotRunning(f"no gateway answers at {', '.join(urls)}: is it running, with this config?")


def _reachable(host: str) -> str:
    """A listener on every address is asked at this machine's own: it tells nobody else."""
    own = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104, compared with, not bound to
    return f"[{own}]" if ":" in own else own


def table(clients: Sequence[Mapping[str, Any]], now: float | None = None) -> str:
    """now: seconds since the epoch."""
    if not clients:
        return "Nobody has been seen yet."
    return "\n\n".join("\n".join(_rows(seen, time.time() if now is None else now)) for seen in clients)


def _rows(seen: Mapping[str, Any], now: float) -> Iterator[str]:
    yield f"{seen['id']}: {seen['requests']} requests, the last {max(0, now - seen['last_seen']):.0f} s ago"
    for kind in ("dialects", "routes", "errors", "ignored"):
        for number, (name, count) in enumerate(seen[kind].items()):
            yield f"  {kind if number == 0 else '':10}{count:6}  {name}"
    for number, lost in enumerate(seen["unknown"]):
        advice = f"  to serve it, in the config: {lost['config']}" if lost["config"] else ""
        yield f"  {'unknown' if number == 0 else '':10}{lost['count']:6}  {lost['route']}{advice}"
