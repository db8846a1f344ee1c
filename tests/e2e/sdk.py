"""Runs a script with a client from the cache."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.clients import NotInstalled, installed

SCRIPTS = Path(__file__).parent / "scripts"


def understood(client: str, script: str, *arguments: str, stdin: str = "") -> Any:
    """What the script printed. Without the client the test is skipped, and says so; in CI it fails."""
    try:
        folder = installed(client)
    except NotInstalled as missing:
        if os.environ.get("CI"):
            pytest.fail(str(missing))
        pytest.skip(str(missing))
    run, variable = ("node", "NODE_PATH") if script.endswith(".cjs") else (sys.executable, "PYTHONPATH")
    path = folder / "node_modules" if run == "node" else folder
    command = [run, str(SCRIPTS / script), *arguments]
    environment = os.environ | {variable: str(path)}
    result = subprocess.run(
        command, check=False, capture_output=True, env=environment, timeout=120, input=stdin.encode()
    )
    assert result.returncode == 0, result.stderr.decode()
    return json.loads(result.stdout)
