"""Real clients: which versions are driven, where they are kept, and how they get there (`make clients`).

Each has a folder of its own outside the checkout, because three generations of one package can't share an environment.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dragoman" / "clients"

PYTHON_CLIENTS: Mapping[str, str] = {
    "openai-0.28": "openai==0.28.1",
    "openai-1": "openai==1.109.1",
    "openai": "openai==3.52.0",
    "ollama": "ollama==0.6.3",
    "anthropic": "anthropic==2.11.0",
    "text-generation": "text-generation==0.7.0",
    "huggingface-hub": "huggingface-hub==0.36.0",
}
NODE_CLIENTS: Mapping[str, str] = {
    "node-openai": "openai@7.55.0",
    "node-ollama": "ollama@0.6.4",
    "node-anthropic": "@anthropic-ai/sdk@1.11.0",
}


class NotInstalled(Exception):
    """The client isn't in the cache; the message says how to get it there."""


def folder(client: str) -> Path:
    """Where it is, or belongs; named for its version, so that a new pin is a new folder."""
    wanted = PYTHON_CLIENTS.get(client) or NODE_CLIENTS[client]
    python = "" if client in NODE_CLIENTS else f"-py{sys.version_info.major}{sys.version_info.minor}"
    name = wanted.lstrip("@").replace("==", "-").replace("@", "-").replace("/", "-")
    return CACHE / (name + ("-node" if client in NODE_CLIENTS else python))


def installed(client: str) -> Path:
    """Raises NotInstalled."""
    path = folder(client)
    if not (path / "complete").exists():
        raise NotInstalled(f"the client {client!r} is not installed: run `make clients`")
    return path


def install(client: str) -> None:
    """Does nothing when it is there already. Raises subprocess.CalledProcessError."""
    path = folder(client)
    if (path / "complete").exists():
        return
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    if client in PYTHON_CLIENTS:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--target", str(path), PYTHON_CLIENTS[client]], check=True)
    else:
        npm = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(path)]
        subprocess.run([*npm, NODE_CLIENTS[client]], check=True)
    (path / "complete").touch()


def main() -> int:
    for client in (*PYTHON_CLIENTS, *NODE_CLIENTS):
        if client in NODE_CLIENTS and shutil.which("npm") is None:
            print(f"{client}: left out, there is no npm", file=sys.stderr)
            continue
        install(client)
        print(f"{client}: {folder(client)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
