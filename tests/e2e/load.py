"""Clients that ask for completions one after the other, as long as something else is done to the gateway."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event

from tests.e2e.gateway_process import Gateway, sse_data

NUM_TOKENS = 64
PATIENCE_S = 400.0  # a real vLLM may be starting meanwhile


@dataclass(frozen=True, slots=True)
class Asked:
    """text: None where the answer isn't whole, and raw is what came instead."""

    client: int
    text: str | None
    raw: str


@contextmanager
def under_load(gateway: Gateway, num_clients: int) -> Iterator[list[Asked]]:
    """Half of them stream; each asks its own question over and over. The list is filled when it is over."""
    over, answers = Event(), list[Asked]()

    def ask_on(client: int) -> list[Asked]:
        asked = [ask(gateway, client)]
        while not over.is_set():
            asked.append(ask(gateway, client))
        return asked

    with ThreadPoolExecutor(num_clients) as clients:
        asking = [clients.submit(ask_on, client) for client in range(num_clients)]
        try:
            yield answers
        finally:
            over.set()
            answers += [asked for future in asking for asked in future.result()]


def ask(gateway: Gateway, client: int) -> Asked:
    stream = client % 2 == 0
    body = {"model": "m", "prompt": f"# {client}\n", "max_tokens": NUM_TOKENS, "temperature": 0, "ignore_eos": True,
            "stream": stream}  # fmt: skip
    answer = gateway.ask("openai", "POST", "/v1/completions", body, timeout_s=PATIENCE_S)
    if answer.status != 200:
        return Asked(client, None, answer.text)
    chunks = sse_data(answer.body) if stream else [answer.json]
    choices = [choice for chunk in chunks for choice in chunk.get("choices", ())]
    is_whole = bool(choices and choices[-1]["finish_reason"]) and (not stream or answer.text.endswith("[DONE]\n\n"))
    return Asked(client, "".join(choice["text"] for choice in choices) if is_whole else None, answer.text)
