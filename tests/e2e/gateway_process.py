"""The running gateway as the tests see it: its addresses, and requests of every odd kind."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.client import HTTPConnection
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parents[2]
PERSONAS = ("openai", "llamacpp", "ollama")
LISTENERS = """
listeners:
  - {port: 0, persona: openai}
  - {port: 0, persona: llamacpp}
  - {port: 0, persona: ollama}
log: {format: json}
"""


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass(frozen=True, slots=True)
class Gateway:
    """urls: by persona; log: the file that the process writes its log lines to; pid: the process's; config: its
    file; stdout: where it says its addresses."""

    urls: Mapping[str, str]
    log: Path
    pid: int
    config: Path
    stdout: IO[bytes]

    def begun_anew(self) -> Gateway:
        """Where it listens after the process has begun anew."""
        return replace(self, urls=_addresses(self.stdout, self.log))

    def configure(self, rest: str) -> None:
        """Saves another config with the same listeners."""
        self.config.write_text(LISTENERS + rest)

    def address(self, persona: str) -> tuple[str, int]:
        url = urllib.parse.urlsplit(self.urls[persona])
        assert url.hostname
        assert url.port
        return url.hostname, url.port

    def ask(
        self,
        persona: str,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        *,
        chunked: bool = False,
        timeout_s: float = 60.0,
    ) -> Response:
        """body: bytes as they are, or a value as JSON. No header is added, Content-Type least of all."""
        sent = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection = HTTPConnection(*self.address(persona), timeout=timeout_s)
        try:
            if chunked and sent is not None:
                halves = iter((sent[: len(sent) // 2], sent[len(sent) // 2 :]))
                connection.request(method, path, halves, dict(headers or {}), encode_chunked=True)
            else:
                connection.request(method, path, sent, dict(headers or {}))
            answer = connection.getresponse()
            return Response(answer.status, dict(answer.headers), answer.read())
        finally:
            connection.close()


def sse_data(body: bytes) -> list[Any]:
    """The JSON of each event, `[DONE]` left out."""
    events = [event.removeprefix("data: ") for event in body.decode().split("\n\n") if event]
    return [json.loads(event) for event in events if event != "[DONE]"]


def ndjson(body: bytes) -> list[Any]:
    return [json.loads(line) for line in body.splitlines()]


@contextmanager
def running_gateway(folder: Path, models: str, *, load_s: float = 60.0, only_our_log: bool = True) -> Iterator[Gateway]:
    """models: the rest of its config. It must end cleanly, with a log that has no bug in it. load_s: how long it may
    take until it is ready; 0: it needn't be. only_our_log: no library writes into it."""
    config, log = folder / "config.yaml", folder / "log"
    config.write_text(LISTENERS + models)
    with log.open("wb") as stderr:
        command = [sys.executable, "-m", "gateway", "--config", str(config)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=stderr)
        try:
            assert process.stdout is not None
            gateway = Gateway(_addresses(process.stdout, log), log, process.pid, config, process.stdout)
            if load_s:
                _wait_until_ready(gateway, load_s)
            yield gateway
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
    assert process.returncode in (0, -signal.SIGKILL), log.read_text()
    lines = log.read_text().splitlines()
    odd = [line for line in lines if '"event":"bug"' in line or (only_our_log and not line.startswith("{"))]
    assert not odd, "the log has a bug, or something that is no log line"


def _addresses(stdout: IO[bytes], log: Path) -> Mapping[str, str]:
    urls: list[str] = []
    while len(urls) < len(PERSONAS):
        line = stdout.readline().decode()
        assert line, f"the gateway ended before it listened:\n{log.read_text()}"
        urls += re.findall(r"^ +(http://\S+)", line)
    return dict(zip(PERSONAS, urls, strict=True))


def _wait_until_ready(gateway: Gateway, load_s: float) -> None:
    """As wrappers of llama.cpp's server do: its /health says when the model is loaded."""
    deadline = time.monotonic() + load_s
    while gateway.ask("llamacpp", "GET", "/health").status != 200:
        assert time.monotonic() < deadline, gateway.log.read_text()
        time.sleep(0.05)
