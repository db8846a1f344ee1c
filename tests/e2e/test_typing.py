"""Somebody types: the newer keystroke supersedes the older, whose client never hangs up, and takes over its prompt."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.e2e.gateway_process import Gateway, sse_data
from tests.e2e.test_leaving import wait_for

FILE = "".join(f"def step_{i}(state, value):\n    return state * {i} + value\n\n\n" for i in range(8))


def infill(typed: str, num_tokens: int) -> dict[str, object]:
    return {"input_prefix": FILE + typed, "input_suffix": "\n\nmain()\n", "n_predict": num_tokens, "ignore_eos": True}


def test_the_newer_keystroke_takes_the_place_and_the_prefix_of_the_older(dragoman: Gateway) -> None:
    with ThreadPoolExecutor(2) as clients:
        older = clients.submit(dragoman.ask, "llamacpp", "POST", "/infill", infill("def total(val", 3500))
        streamed = {**infill("def mean(val", 3500), "stream": True}
        wait_for(dragoman, 1)
        newer = dragoman.ask("llamacpp", "POST", "/infill", infill("def total(values", 8)).json
        assert older.result().json["stop_type"] == "limit"
        assert older.result().json["tokens_predicted"] < 3500
        assert newer["tokens_predicted"] == 8
        assert newer["timings"]["cache_n"] > 0.8 * newer["tokens_evaluated"]
        other = clients.submit(dragoman.ask, "llamacpp", "POST", "/infill", streamed)
        wait_for(dragoman, 1)
        dragoman.ask("llamacpp", "POST", "/infill", infill("def mean(values", 8))
        *_, last = sse_data(other.result().body)
        assert (last["stop"], last["stop_type"]) == (True, "limit")
    wait_for(dragoman, 0)
