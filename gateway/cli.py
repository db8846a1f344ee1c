"""The command line: serve · check · routes · clients."""

from __future__ import annotations

import argparse
import asyncio
import gc
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from gateway import clients
from gateway import config as configuration
from gateway.app import running
from gateway.document import ConfigError
from gateway.listeners import Address, NoListener
from gateway.log import configure
from gateway.routes import ROUTES, Route

DEFAULT_CONFIG = Path(__file__).parent.parent / "config.yaml"


def main(argv: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    try:
        match args.command:
            case "routes":
                print(route_table(ROUTES))
            case "clients":
                print(clients.table(clients.ask(configuration.load(args.config).listeners)))
            case "check":
                configuration.load(args.config)
                print(f"{args.config}: ok")
            case _:
                return _serve(configuration.load(args.config), args.config)
    except (ConfigError, NoListener, clients.NotRunning) as error:
        print(f"dragoman: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dragoman", description="Let any LLM client talk to any local model.")
    parser.add_argument("command", nargs="?", choices=("serve", "check", "routes", "clients"), default="serve",
                        help="serve (the default); check the config; print the route table;"
                             " ask the running gateway who has been seen")  # fmt: skip
    parser.add_argument("--config", type=Path, default=DEFAULT_CONFIG, help="default: %(default)s")
    return parser


def _serve(config: configuration.Config, path: Path) -> int:
    configure(config.log.level, config.log.format)
    gc.freeze()  # or every full collection would look through what was imported, and hold everyone up for 50 ms
    asyncio.run(_run(config, path))
    return 0


async def _run(config: configuration.Config, path: Path) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, stop.set)
    async with running(config, path) as gateway:
        if gateway.reloader:
            loop.add_signal_handler(signal.SIGHUP, gateway.reloader.trigger)
        print(banner(gateway.addresses), flush=True)
        await stop.wait()


PASTE = {
    "openai": "OpenAI-style clients, Continue, Cline, @tenstorrent: base URL {url}/v1, any API key",
    "llamacpp": "llama.vscode, llama.vim, coLLaMA, Continue's llama.cpp: server URL {url}",
    "llamacpp-python": "clients of llama-cpp-python: base URL {url}/v1",
    "anthropic": "Claude Code and Anthropic's SDKs: ANTHROPIC_BASE_URL={url}",
    "lmstudio": "clients of LM Studio, Cline, Zed: server URL {url}",
    "mistral": "Codestral's clients: base URL {url}/v1",
    "ollama": "Copilot, Open WebUI, Twinny, Zed as Ollama: host {url}",
    "copilot": "Copilot's ghost text: proxy URL {url}",
    "fauxpilot": "clients of FauxPilot: base URL {url}/v1/engines/codegen",
    "kobold": "SillyTavern and others for KoboldCpp: API URL {url}",
    "tabby": "Tabby's editor extensions: endpoint {url}",
    "tenstorrent": "scripts from Tenstorrent's lesson: {url}/chat",
    "textgen": "clients of text-generation-webui: base URL {url}/v1, or {url}/api for those of 2023",
    "tgi": "clients of Hugging Face's TGI, InferenceClient: base URL {url}",
}


def banner(addresses: Sequence[Address]) -> str:
    """Which addresses are open, and what to paste into an editor for each."""
    width = max(len(address.url) for address in addresses)
    lines = [f"  {a.url:{width}}  {PASTE[a.persona].format(url=a.url)}" for a in addresses]
    return "\n".join(["Dragoman is listening; every address answers every dialect.", *lines, "Stop with Ctrl-C."])


def route_table(routes: Sequence[Route]) -> str:
    """As Markdown: what docs/routes.md shows. One row for each verb; the last column is for other personas, and for
    clients that are known by a sign."""
    paths: dict[tuple[str, str, str], list[str]] = {}
    for route in routes:
        others = ", ".join(dict.fromkeys(verb for verb in route.verbs if verb != route.verb))
        paths.setdefault((route.verb, others, route.method), []).append(f"`{route.path}`")
    rows = [f"| {verb} | {method} {', '.join(where)} | {others} |" for (verb, others, method), where in paths.items()]
    return "\n".join(["| verb | routes | elsewhere |", "|---|---|---|", *rows])
