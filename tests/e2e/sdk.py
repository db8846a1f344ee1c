"""Runs scripts with clients from the cache, and clients that are programs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.clients import NotInstalled, installed

SCRIPTS = Path(__file__).parent / "scripts"


def installed_or_skipped(client: str) -> Path:
    """Its folder. Without the client the test is skipped, and says so; in CI it fails."""
    try:
        return installed(client)
    except NotInstalled as missing:
        if os.environ.get("CI"):
            pytest.fail(str(missing))
        pytest.skip(str(missing))


def understood(client: str, script: str, *arguments: str, stdin: str = "") -> Any:
    """What the script printed."""
    folder = installed_or_skipped(client)
    run, variable = ("node", "NODE_PATH") if script.endswith(".cjs") else (sys.executable, "PYTHONPATH")
    path = folder / "node_modules" if run == "node" else folder
    command = [run, str(SCRIPTS / script), *arguments]
    environment = os.environ | {variable: str(path)}
    result = subprocess.run(
        command, check=False, capture_output=True, env=environment, timeout=120, input=stdin.encode()
    )
    assert result.returncode == 0, result.stderr.decode()
    return json.loads(result.stdout)


def said(command: Sequence[str | Path], home: Path, **environment: str) -> str:
    """What a program printed that has `home` for itself, and no network but this machine's."""
    nowhere = {
        "HTTP_PROXY": "http://127.0.0.1:9",
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "NO_PROXY": "127.0.0.1,localhost",
    }
    result = subprocess.run(
        command,
        check=False,
        capture_output=True,
        cwd=home,
        env=os.environ | nowhere | {"HOME": str(home), "PWD": str(home)} | environment,
        stdin=subprocess.DEVNULL,
        timeout=240,
    )
    assert result.returncode == 0, result.stdout.decode() + result.stderr.decode()
    return result.stdout.decode()
