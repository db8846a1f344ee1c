"""Drives the `koboldapi` package; prints as JSON what it understood. Arguments: base URL."""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any

from koboldapi.core.api import KoboldAPI

client = KoboldAPI(sys.argv[1], temperature=0)
PROMPT = "def add(a, b):"


def polled_and_aborted() -> dict[str, Any]:
    """An answer that would fill the window, looked at while it grows, and ended."""
    client = KoboldAPI(sys.argv[1], temperature=0)  # with a key of its own
    whole: list[str] = []
    endless = {"max_length": 12_000, "ban_eos_token": True}
    answering = threading.Thread(target=lambda: whole.append(client.generate(PROMPT, **endless)))
    answering.start()
    deadline = time.monotonic() + 30
    while not (seen := client.check_generation()) and time.monotonic() < deadline:
        time.sleep(0.02)
    aborted = client.abort_generation()
    answering.join()
    return {"seen": seen, "whole": whole[0], "after": client.check_generation(), "aborted": aborted}


def main() -> dict[str, Any]:
    text = client.generate(PROMPT, max_length=12, logprobs=1)
    return {
        "model": client.get_model(),
        "version": client.get_version()["version"],
        "window": client.get_max_context_length(),
        "text": text,
        "checked": client.check_generation(),
        "logprobs": client.get_last_logprobs()["tokens"],
        "streamed": client.generate_sync(PROMPT, max_length=12),
        "counted": client.count_tokens(text)["count"],
        "round_trip": client.detokenize(client.tokenize(text)),
        "generated": client.get_performance_stats()["last_token_count"],
        "polled": polled_and_aborted(),
    }


print(json.dumps(main()))
