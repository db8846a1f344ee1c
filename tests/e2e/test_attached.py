"""Servers that run elsewhere, behind the gateway, over real sockets: whose key they get, which models they have, and
what those can (tests/fake_worker.py)."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.gateway_process import Gateway, running_gateway

FAKE = Path(__file__).parents[1] / "fake_worker.py"
CHAT = {"model": "mine", "max_tokens": 9, "messages": [{"role": "user", "content": "five"}]}
Run = Callable[..., tuple[Gateway, str]]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """A gateway before one such server: options of the model, flags of the server; gives the server's URL too."""
    with ExitStack() as stack:

        def begin(options: str, *flags: str, rest: str = "") -> tuple[Gateway, str]:
            command = [sys.executable, str(FAKE), *flags]
            process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            stack.callback(process.kill)
            assert process.stdout
            startup = next(line for line in process.stdout if "Application startup complete" in line)
            url = f"http://127.0.0.1:{re.findall(r', ([0-9]+)', startup)[0]}"
            config = (
                f"reload: {{watch: false}}\nmodels: {{mine: {{backend: server, urls: [{url}], {options}}}}}\n{rest}"
            )
            return stack.enter_context(running_gateway(tmp_path, config)), url

        yield begin


def seen(url: str, field: str) -> list[str | None]:
    """What was sent there."""
    return [request[field] for request in httpx.get(f"{url}/seen", trust_env=False).json()["requests"]]


def chat(gateway: Gateway, path: str = "/v1/chat/completions", **headers: str) -> int:
    wire = {name.replace("_", "-"): text for name, text in headers.items()}
    return gateway.ask("openai", "POST", path, CHAT, wire).status


# keys


def test_a_client_s_key_is_passed_on_where_the_config_says_so_in_whichever_form_it_came(run: Run) -> None:
    gateway, url = run("pass_key: true, key: ours", "--key", "alice,bob,ours")
    assert chat(gateway, Authorization="Bearer alice") == 200
    assert chat(gateway, "/v1/messages", x_api_key="bob") == 200
    assert chat(gateway) == 200
    embed = {"input": "abc"}
    assert gateway.ask("openai", "POST", "/v1/embeddings", embed, {"Authorization": "Bearer bob"}).status == 200
    assert seen(url, "key") == ["Bearer alice", "Bearer bob", "Bearer ours", "Bearer bob"]
    refused = gateway.ask("openai", "POST", "/v1/chat/completions", CHAT, {"Authorization": "Bearer eve"})
    assert (refused.status, refused.json["error"]["code"]) == (401, "invalid_api_key")


def test_otherwise_no_client_s_key_leaves(run: Run) -> None:
    gateway, url = run("key: ours")
    assert chat(gateway, Authorization="Bearer alice", x_api_key="bob") == 200
    assert seen(url, "key") == ["Bearer ours"]


def test_a_key_of_the_gateway_s_own_never_leaves(run: Run) -> None:
    gateway, url = run("pass_key: true, key: ours", rest="keys: {alice: {key: gateway-key}}\n")
    assert chat(gateway, Authorization="Bearer gateway-key") == 200
    assert chat(gateway, Authorization="Bearer gateway-key", x_api_key="theirs") == 200
    assert chat(gateway, Authorization="Bearer theirs") == 401
    assert seen(url, "key") == ["Bearer ours", "Bearer theirs"]


def test_a_server_that_tells_nothing_without_a_key_is_asked_with_the_client_s(run: Run) -> None:
    gateway, url = run("pass_key: true", "--key", "alice", "--guards-list")
    assert chat(gateway, Authorization="Bearer eve") == 401
    assert chat(gateway, Authorization="Bearer alice") == 200
    assert seen(url, "key") == ["Bearer alice"]


def test_who_brings_another_key_doesn_t_share_an_answer(run: Run) -> None:
    gateway, _ = run("pass_key: true", "--key", "alice,bob")
    body = {**CHAT, "messages": [{"role": "user", "content": "slow 100"}], "temperature": 0}
    with ThreadPoolExecutor(2) as pool:
        keys = [{"Authorization": f"Bearer {name}"} for name in ("alice", "eve")]
        asked = [pool.submit(gateway.ask, "openai", "POST", "/v1/chat/completions", body, key) for key in keys]
        assert [each.result().status for each in asked] == [200, 401]


# LoRAs


def names(gateway: Gateway) -> Mapping[str, list[str]]:
    def listed(persona: str, path: str, field: str, name: str) -> list[str]:
        return [each[name] for each in gateway.ask(persona, "GET", path).json[field]]

    return {
        "openai": listed("openai", "/v1/models", "data", "id"),
        "anthropic": [each["id"] for each in gateway.ask(
            "openai", "GET", "/v1/models", headers={"anthropic-version": "2023-06-01"}).json["data"]],
        "llamacpp": listed("llamacpp", "/v1/models", "data", "id"),
        "ollama": [name.partition(":")[0] for name in listed("ollama", "/api/tags", "models", "name")],
        "lmstudio": listed("openai", "/api/v0/models", "data", "id"),
    }  # fmt: skip


def test_a_lora_is_a_model_in_every_list_and_is_asked_for_by_its_name(run: Run) -> None:
    gateway, url = run("model: base", "--served-model-name", "base", "--adapter", "tuned")
    assert set(map(tuple, names(gateway).values())) == {("mine", "tuned")}
    cards = {card["id"]: card for card in gateway.ask("openai", "GET", "/v1/models").json["data"]}
    assert cards["tuned"]["parent"] == "mine"
    assert gateway.ask("openai", "POST", "/v1/chat/completions", {**CHAT, "model": "tuned"}).status == 200
    messages = {"model": "tuned:latest", "messages": CHAT["messages"], "stream": False}
    assert gateway.ask("ollama", "POST", "/api/chat", messages).status == 200
    assert gateway.ask("openai", "POST", "/v1/embeddings", {"model": "tuned", "input": "abc"}).status == 200
    assert gateway.ask("openai", "POST", "/v1/chat/completions", CHAT).status == 200
    assert seen(url, "model") == ["tuned", "tuned", "tuned", "base"]


def test_a_client_that_may_use_a_model_may_use_its_loras(run: Run) -> None:
    keys = "keys: {a: {key: a, limits: {models: [mine]}}, b: {key: b, limits: {models: [demo]}}}\n"
    options = "}, demo: {backend: engine, load: demand"
    gateway, _ = run(options, "--adapter", "tuned", rest=keys)
    body = {**CHAT, "model": "tuned"}
    asked = [gateway.ask("openai", "POST", "/v1/chat/completions", body, {"X-Api-Key": key}).status for key in "ab"]
    assert asked == [200, 403]


# what a model can


@pytest.mark.parametrize("flags", [(), ("--tools",), ("--tools", "--vision")], ids=["text", "tools", "sees"])
def test_every_dialect_tells_what_the_worker_says_that_it_can(run: Run, flags: tuple[str, ...]) -> None:
    gateway, _ = run("model: fake", *flags)
    has_tools, sees = "--tools" in flags, "--vision" in flags

    def ask(persona: str, method: str, path: str, body: Any = None) -> Any:
        return gateway.ask(persona, method, path, body).json

    shown = ask("ollama", "POST", "/api/show", {"model": "mine"})["capabilities"]
    assert {"tools", "vision"} & set(shown) == {name for name, can in (("tools", has_tools), ("vision", sees)) if can}
    props = ask("llamacpp", "GET", "/props")
    assert props["modalities"]["vision"] is sees
    assert props["chat_template_caps"]["supports_tools"] is has_tools
    (card,) = ask("openai", "GET", "/api/v0/models")["data"]
    assert card["type"] == ("vlm" if sees else "llm")
    assert ("tool_use" in card.get("capabilities", ())) is has_tools
