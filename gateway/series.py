"""The gateway's own series for Prometheus, at GET /gateway/metrics. Those of llama.cpp's server are its dialect's.

Format: prometheus.io/docs/instrumenting/exposition_formats, version 0.0.4.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from gateway.traffic import Traffic

CONTENT_TYPE = "text/plain; version=0.0.4"
Labels: TypeAlias = Mapping[str, str]


def exposition(traffic: Traffic, models: Iterable[str]) -> str:
    """models: all of them, so that one of which nobody asks anything has its series too."""
    return "".join(_lines(traffic, list(models)))


def _lines(traffic: Traffic, models: list[str]) -> Iterator[str]:
    waiting = Counter(ticket.model for ticket in traffic.queue.tickets if ticket.began is None)
    working = Counter(ticket.model for ticket in traffic.queue.tickets if ticket.began is not None)
    yield from _series("requests_waiting", "gauge", [({"model": name}, waiting[name]) for name in models])
    yield from _series("requests_working", "gauge", [({"model": name}, working[name]) for name in models])
    answers = [({"dialect": dialect, "status": str(status)}, count)
               for (dialect, status), count in sorted(traffic.counter.answers.items())]  # fmt: skip
    yield from _series("answers_total", "counter", answers)
    totals = traffic.totals
    for name, value in (
        ("prompt_tokens_total", totals.prompt_tokens),
        ("cached_tokens_total", totals.cached_tokens),
        ("completion_tokens_total", totals.completion_tokens),
        ("prefill_seconds_total", totals.prefill_s),
        ("decode_seconds_total", totals.decode_s),
    ):
        yield from _series(name, "counter", [({}, value)])


def _series(name: str, kind: str, samples: Iterable[tuple[Labels, float]]) -> Iterator[str]:
    yield f"# TYPE dragoman_{name} {kind}\n"
    for labels, value in samples:
        yield f"dragoman_{name}{_labelled(labels)} {value:.10g}\n"


def _labelled(labels: Labels) -> str:
    parts = (f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return "{" + ",".join(parts) + "}" if labels else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
