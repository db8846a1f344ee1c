"""Real clients: which versions are driven, where they are kept, and how they get there (`make clients`).

Each has a folder of its own outside the checkout, because three generations of one package can't share an environment.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
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
    "litellm": "litellm==1.110.2",
    "langchain-0.0": "langchain==0.0.352",
    "langchain": "langchain-openai==1.7.4 langchain-ollama==1.1.0",
    "llama-index": "llama-index-llms-openai-like==0.8.1 llama-index-llms-ollama==0.11.0",
    "aider": "aider-chat==0.86.2",
}
NODE_CLIENTS: Mapping[str, str] = {
    "node-openai": "openai@7.55.0",
    "node-ollama": "ollama@0.6.4",
    "node-anthropic": "@anthropic-ai/sdk@1.11.0",
    "node-ai": "ai@7.0.173 @ai-sdk/openai-compatible@3.0.92",
    "node-codex": "@openai/codex@0.171.0",
    "node-claude-code": "@anthropic-ai/claude-code@2.1.332",
    "node-opencode": "opencode-ai@1.18.33",
    "node-continue": "@continuedev/cli@1.5.47",
}
CLIENTS: Mapping[str, str] = {**PYTHON_CLIENTS, **NODE_CLIENTS}
NUM_AT_ONCE = 6
"""Most of an installation is waiting for a registry."""


class NotInstalled(Exception):
    """The client isn't in the cache; the message says how to get it there."""


def folder(client: str) -> Path:
    """Where it is, or belongs; named for its version, so that a new pin is a new folder."""
    suffix = "node" if is_node(client) else f"py{sys.version_info.major}{sys.version_info.minor}"
    return CACHE / "-".join([*re.findall(r"[\w.]+", CLIENTS[client]), suffix])


def is_node(client: str) -> bool:
    return client.startswith("node-")


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
    if not is_node(client):
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--target", str(path), *CLIENTS[client].split()], check=True)
    else:
        npm = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(path)]
        subprocess.run([*npm, *CLIENTS[client].split()], check=True)
    (path / "complete").touch()


def _try_to_install(client: str) -> bool:
    try:
        install(client)
    except subprocess.CalledProcessError as error:
        print(f"{client} can't be installed: {error}", file=sys.stderr)
        return False
    print(f"{client}: {folder(client)}", flush=True)
    return True


def main() -> int:
    has_npm = shutil.which("npm") is not None
    if not has_npm:
        print(f"there is no npm: {', '.join(NODE_CLIENTS)} are left out", file=sys.stderr)
    with ThreadPoolExecutor(NUM_AT_ONCE) as pool:
        are_there = list(pool.map(_try_to_install, CLIENTS if has_npm else PYTHON_CLIENTS))
    return 0 if all(are_there) else 1


if __name__ == "__main__":
    raise SystemExit(main())
