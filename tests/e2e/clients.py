"""Real clients: which versions are driven, where they are kept, and how they get there (`make clients`).

Each has a folder of its own outside the checkout, because three generations of one package can't share an environment.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dragoman" / "clients"

PYTHON_CLIENTS: Mapping[str, str] = {
    "openai-0.27": "openai==0.27.10",
    "openai-0.28": "openai==0.28.1",
    "openai-1": "openai==1.109.1",
    "openai": "openai==3.52.0",
    "ollama-0.1": "ollama==0.1.9",
    "ollama": "ollama==0.6.3",
    "anthropic-0.3": "anthropic==0.3.11 httpx<0.28",
    "anthropic": "anthropic==2.11.0",
    "llm": "llm==0.36",
    "text-generation": "text-generation==0.7.0",
    "koboldapi": "koboldapi==0.5.4",
    "mistralai": "mistralai==1.9.11",
    "huggingface-hub": "huggingface-hub==0.36.0",
}
NODE_CLIENTS: Mapping[str, str] = {
    "node-openai": "openai@7.55.0",
    "node-ollama": "ollama@0.6.4",
    "node-anthropic": "@anthropic-ai/sdk@1.11.0",
    "node-ai": "ai@7.0.173 @ai-sdk/openai-compatible@3.0.92",
}
HEAVY_CLIENTS: Mapping[str, str] = {
    "litellm": "litellm==1.110.2",
    "langchain-0.0": "langchain==0.0.352",
    "langchain": "langchain-openai==1.7.4 langchain-ollama==1.1.0",
    "llama-index": "llama-index-llms-openai-like==0.8.1 llama-index-llms-ollama==0.11.0",
    "aider": "aider-chat==0.86.2",
    "node-codex": "@openai/codex@0.171.0",
    "node-claude-code": "@anthropic-ai/claude-code@2.1.332",
    "node-opencode": "opencode-ai@1.18.33",
    "node-continue": "@continuedev/cli@1.5.47",
}
"""Hundreds of megabytes: `make clients-all` fetches them, and CI doesn't."""
ALL_CLIENTS: Mapping[str, str] = {**PYTHON_CLIENTS, **NODE_CLIENTS, **HEAVY_CLIENTS}


class NotInstalled(Exception):
    """The client isn't in the cache; the message says how to get it there."""


def folder(client: str) -> Path:
    """Where it is, or belongs; named for its version, so that a new pin is a new folder."""
    suffix = "node" if is_node(client) else f"py{sys.version_info.major}{sys.version_info.minor}"
    return CACHE / "-".join([*re.findall(r"[\w.]+", ALL_CLIENTS[client]), suffix])


def is_node(client: str) -> bool:
    return client.startswith("node-")


def installed(client: str) -> Path:
    """Raises NotInstalled."""
    path = folder(client)
    if not (path / "complete").exists():
        target = "clients-all" if client in HEAVY_CLIENTS else "clients"
        raise NotInstalled(f"the client {client!r} is not installed: run `make {target}`")
    return path


def install(client: str) -> None:
    """Does nothing when it is there already. Raises subprocess.CalledProcessError."""
    path = folder(client)
    if (path / "complete").exists():
        return
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    if not is_node(client):
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--target", str(path), *ALL_CLIENTS[client].split()], check=True)
    else:
        npm = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(path)]
        subprocess.run([*npm, *ALL_CLIENTS[client].split()], check=True)
    (path / "complete").touch()


def main(argv: Sequence[str]) -> int:
    """`--all`: the heavy ones too."""
    for client in ALL_CLIENTS if "--all" in argv else (*PYTHON_CLIENTS, *NODE_CLIENTS):
        if is_node(client) and shutil.which("npm") is None:
            print(f"{client}: left out, there is no npm", file=sys.stderr)
            continue
        install(client)
        print(f"{client}: {folder(client)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
