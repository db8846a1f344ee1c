"""GET /metrics: the server's counters, in Prometheus' text format. Who counts is not its affair: see base.Totals.

Source: llama.cpp tools/server/server-task.cpp, server_task_result_metrics::to_metrics.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from adapters.base import Call, Reply, Totals
from adapters.llamacpp.errors import Refusal

_Item: TypeAlias = tuple[str, str, float]


async def metrics(call: Call) -> Reply:
    if call.totals is None:
        raise Refusal("This server does not support metrics endpoint. Start it with `--metrics`", "not_supported_error")
    slots = [slot for model in call.models.all() for slot in model.backend.slots]
    num_busy = sum(slot.request_id is not None for slot in slots)
    lines = [*_lines("counter", _counters(call.totals)), *_lines("gauge", _gauges(call.totals, num_busy))]
    return Reply(
        "".join(lines).encode(),
        content_type="text/plain; version=0.0.4",
        headers={"Process-Start-Time-Unix": str(int(call.totals.since))},
    )


def _counters(totals: Totals) -> Iterable[_Item]:
    """Nothing is drafted here, so the speculative counters stay at zero."""
    yield "prompt_tokens_total", "Number of prompt tokens processed, excluding cached tokens", totals.prompt_tokens
    yield "prompt_tokens_cached_total", "Number of prompt tokens reused from the cache", totals.cached_tokens
    yield "prompt_seconds_total", "Total time spent processing prompts", totals.prefill_s
    yield "tokens_predicted_total", "Number of generation tokens processed", totals.completion_tokens
    yield "tokens_predicted_seconds_total", "Total time spent generating tokens", totals.decode_s
    yield (
        "n_decode_total",
        "Total number of llama_decode() calls, excluding speculative decoding and multimodal decoding",
        totals.num_steps,
    )
    yield "n_tokens_max", "Largest observed sequence length (prompt + generation)", totals.longest_sequence
    yield "spec_decode_num_draft_tokens_total", "Speculative: Total draft tokens generated", 0
    yield (
        "spec_decode_num_accepted_tokens_total",
        "Speculative: Total draft tokens accepted by the target model",
        0,
    )
    yield "spec_decode_num_drafts_total", "Speculative: Total speculative decoding verification steps", 0


def _gauges(totals: Totals, num_busy: int) -> Iterable[_Item]:
    prefill_rate = totals.prompt_tokens / totals.prefill_s if totals.prefill_s else 0
    decode_rate = totals.completion_tokens / totals.decode_s if totals.decode_s else 0
    busy_per_step = totals.completion_tokens / totals.num_steps if totals.num_steps else 0
    yield "prompt_tokens_seconds", "Average prompt throughput in tokens/s", prefill_rate
    yield "predicted_tokens_seconds", "Average generation throughput in tokens/s", decode_rate
    yield "requests_processing", "Number of requests processing", num_busy
    yield "requests_deferred", "Number of requests deferred", totals.num_waiting
    yield "n_busy_slots_per_decode", "Average number of busy slots per llama_decode() call", busy_per_step


def _lines(kind: str, items: Iterable[_Item]) -> Iterable[str]:
    for name, description, value in items:
        yield f"# HELP llamacpp:{name} {description}\n# TYPE llamacpp:{name} {kind}\nllamacpp:{name} {value:g}\n"
