"""A config that changes under a running gateway: by SIGHUP, by saving it, and by asking; and answers all the while."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.gateway_process import LISTENERS, Gateway, Response, running_gateway
from tests.e2e.load import under_load

FAKE = Path(__file__).parents[1] / "fake_worker.py"
ENGINE = "models: {m: {backend: engine}, other: {backend: engine}}\n"
WORKER = f"models: {{m: {{backend: server, command: {json.dumps([sys.executable, str(FAKE), '--port', '{port}'])}}}, "
WORKER += "other: {backend: engine}}\n"
BY_HAND = "reload: {watch: false}\n"


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with running_gateway(tmp_path, ENGINE + BY_HAND) as running:
        yield running


def names(gateway: Gateway) -> list[str]:
    return [model["id"] for model in gateway.ask("openai", "GET", "/v1/models").json["data"]]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


def reload(gateway: Gateway, config: str, **headers: str) -> Response:
    gateway.configure(config)
    return gateway.ask("openai", "POST", "/gateway/reload", headers=headers)


def test_saving_the_file_is_enough(tmp_path: Path) -> None:
    with running_gateway(tmp_path, ENGINE) as gateway:
        gateway.configure("models: {m: {backend: engine}, new: {backend: engine}}")
        until(lambda: names(gateway) == ["m", "new"])


def test_sighup_is_enough(gateway: Gateway) -> None:
    gateway.configure("models: {m: {backend: engine}}\n" + BY_HAND)
    os.kill(gateway.pid, signal.SIGHUP)
    until(lambda: names(gateway) == ["m"])


def test_asking_tells_what_has_changed(gateway: Gateway) -> None:
    answer = reload(gateway, "models: {m: {backend: engine, window: 64}, new: {backend: engine}}\n" + BY_HAND)
    assert answer.json == {"added": ["new"], "removed": ["other"], "replaced": ["m"], "tuned": []}
    assert reload(gateway, ENGINE + BY_HAND).status == 200
    assert names(gateway) == ["m", "other"]


def test_a_mistake_changes_nothing_and_its_line_is_named(gateway: Gateway) -> None:
    answer = reload(gateway, ENGINE.replace("m: {", "n: {windows: 3, "))
    line = len(LISTENERS.splitlines()) + 1
    assert answer.status == 400
    assert answer.json["error"]["message"] == f"{gateway.config}:{line}: models.n.windows: there is no such option"
    assert names(gateway) == ["m", "other"]
    assert any("has a mistake" in each for each in gateway.log.read_text().splitlines())


def test_no_page_of_another_site_can_ask(gateway: Gateway) -> None:
    assert reload(gateway, "models: {n: {backend: engine}}", Origin="https://evil.example").status == 403
    assert names(gateway) == ["m", "other"]


def test_settings_hold_at_once(gateway: Gateway) -> None:
    body = {"model": "nobody", "prompt": "x", "max_tokens": 1, "user": "x" * 2**21}
    assert gateway.ask("openai", "POST", "/v1/completions", body).status == 200
    reload(gateway, ENGINE + BY_HAND + "limits: {max_body_mib: 1}\n")
    assert gateway.ask("openai", "POST", "/v1/completions", body).status == 413
    reload(gateway, ENGINE + BY_HAND + "unknown_model: refuse\ndefault_model: other\n")
    assert gateway.ask("openai", "POST", "/v1/completions", body).status == 404


def test_listeners_come_and_go_and_change_whom_they_play(gateway: Gateway) -> None:
    port = gateway.address("ollama")[1]
    gateway.config.write_text(
        f"listeners: [{{port: 0, persona: openai}}, {{port: {port}, persona: anthropic}}]\n" + ENGINE
    )
    assert gateway.ask("openai", "POST", "/gateway/reload").status == 200  # the others are gone, and their ports free
    with pytest.raises(ConnectionRefusedError):
        gateway.ask("llamacpp", "GET", "/health")
    assert gateway.ask("ollama", "GET", "/nowhere").json["type"] == "error"  # as Anthropic has it


def test_switching_under_load_loses_no_request(gateway: Gateway) -> None:
    """Eight clients, half of them streaming, while the backend changes six times."""
    with under_load(gateway, 8) as answers:
        for config in (WORKER, ENGINE) * 3:
            assert reload(gateway, config + BY_HAND).json["replaced"] == ["m"]
            body = {"model": "m", "prompt": "x", "max_tokens": 4}
            assert gateway.ask("openai", "POST", "/v1/completions", body).status == 200  # it has come up
    assert [asked.raw for asked in answers if asked.text is None] == []
    by_worker = [asked for asked in answers if asked.text == "w0 w1 "]
    assert 0 < len(by_worker) < len(answers)
