from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from gateway.cli import banner, main, route_table
from gateway.listeners import Address
from gateway.routes import ROUTES

LEAST = "listeners: [{port: 0, persona: openai}]\nmodels: {demo: {backend: engine}}\n"


def test_check_says_ok_or_the_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(LEAST)
    assert main(["check", "--config", str(path)]) == 0
    path.write_text(LEAST + "colour: red\n")
    assert main(["check", "--config", str(path)]) == 1
    assert capsys.readouterr().err == f"dragoman: {path}:3: colour: there is no such option\n"


def test_routes_prints_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["routes"]) == 0
    assert capsys.readouterr().out == route_table(ROUTES) + "\n"


def test_the_banner_says_what_to_paste_for_each_address() -> None:
    shown = banner([Address("127.0.0.1", 8000, "openai"), Address("::1", 11434, "ollama")])
    assert "base URL http://127.0.0.1:8000/v1" in shown
    assert "host http://[::1]:11434" in shown


def test_a_real_process_serves_and_leaves_on_sigterm(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(LEAST + "log: {format: json}\n")
    command = [sys.executable, "-m", "gateway", "--config", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        url = process.stdout.readline().split()[0]
        answer = httpx.post(f"{url}/v1/completions", json={"prompt": "import", "max_tokens": 2}, timeout=30)
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=30)
    assert answer.json()["usage"]["completion_tokens"] == 2
    assert process.returncode == 0
    assert '"event":"request"' in log
