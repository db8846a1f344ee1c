"""A real llama-server and llama-cpp-python's own server, started through the product on the embedded model as GGUF.

`make test-llama-cpp` makes their environment and runs these tests. Without it they are skipped, but fail under
DRAGOMAN_REQUIRE_LLAMA_CPP=1.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from backends.engine import demo
from tests.backends.test_process import is_alive
from tests.e2e.gateway_process import Gateway, running_gateway, sse_data
from tests.e2e.test_vllm import CHAT, DIALECTS
from tests.e2e.worker_processes import worker_pids

pytestmark = pytest.mark.llamacpp  # a C++ compiler and a quarter of an hour, once: `make test-llama-cpp`

HOME = Path(os.environ.get("DRAGOMAN_LLAMA_CPP") or Path.home() / ".cache/dragoman/llama-cpp-0.3.36")
IS_REQUIRED = os.environ.get("DRAGOMAN_REQUIRE_LLAMA_CPP") == "1"
LOAD_S = 120.0
EXACT = "--cache-type-k, f32, --cache-type-v, f32, --flash-attn, 'off'"
COMMANDS = {
    "llama-server": f"[{HOME}/bin/llama-server, -m, GGUF, --port, '{{port}}', --api-key, '{{key}}', --threads, '1', "
    f"--ctx-size, '8192', --no-ui, {EXACT}]",
    "llama-cpp-python": f"[{HOME}/bin/python, -m, llama_cpp.server, --model, GGUF, --port, '{{port}}', --api_key, "
    "'{key}', --n_threads, '1', --n_ctx, '2048', --interrupt_requests, 'false']",
}
HEALTH = {"llama-server": "/health", "llama-cpp-python": "/v1/models"}
LONG = {"model": "it", "prompt": "# list\n", "max_tokens": 1500, "temperature": 0, "logit_bias": {"0": -100, "2": -100}}


@pytest.fixture(scope="module", params=COMMANDS)
def server(request: pytest.FixtureRequest) -> str:
    if not (HOME / "ready").exists():
        reason = f"no llama.cpp at {HOME}: run `make llama-cpp`"
        pytest.fail(reason) if IS_REQUIRED else pytest.skip(reason)
    return str(request.param)


@pytest.fixture(scope="module")
def gateway(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("llama")
    model = folder / "demo.gguf"
    subprocess.run([HOME / "bin/python", Path(__file__).with_name("gguf_model.py"), model], check=True)
    command = COMMANDS[server].replace("GGUF", str(model))
    it = f"{{backend: server, command: {command}, health: {HEALTH[server]}, grace_s: 5}}"
    config = f"reload: {{watch: false}}\nmodels: {{it: {it}, engine: {{backend: engine}}}}\n"
    with running_gateway(folder, config, load_s=LOAD_S) as running:
        yield running


def post(gateway: Gateway, persona: str, path: str, body: dict[str, Any]) -> Any:
    answer = gateway.ask(persona, "POST", path, body, timeout_s=LOAD_S)
    assert answer.status == 200, answer.text
    return answer.json


@pytest.mark.parametrize("dialect", [name for name in DIALECTS if name != "llama.cpp infill"])
def test_every_dialect_is_answered(gateway: Gateway, server: str, dialect: str) -> None:
    """By llama-server just as by the engine; llama-cpp-python has defaults of its own that can't all be switched off
    over OpenAI's API."""
    persona, path, body, text_of = DIALECTS[dialect]
    theirs = text_of(post(gateway, persona, path, {**body, "model": "it"}))
    assert theirs
    if server == "llama-server":
        assert theirs == text_of(post(gateway, persona, path, {**body, "model": "engine"}))


def test_greedy_text_is_the_engine_s_own(gateway: Gateway, server: str) -> None:
    if server != "llama-server":
        pytest.skip("llama-cpp-python penalises what repeats, unless a field that isn't OpenAI's says no")
    body = {"prompt": "def add(a, b):\n", "max_tokens": 96, "temperature": 0, "logit_bias": LONG["logit_bias"]}
    theirs, ours = (post(gateway, "openai", "/v1/completions", {**body, "model": name}) for name in ("it", "engine"))
    assert theirs["choices"][0]["text"] == ours["choices"][0]["text"]
    assert theirs["usage"]["completion_tokens"] == 96


def test_a_stream_says_what_a_whole_answer_does(gateway: Gateway) -> None:
    body = {"model": "it", "messages": CHAT, "max_tokens": 40, "temperature": 0}
    whole = post(gateway, "openai", "/v1/chat/completions", body)["choices"][0]["message"]["content"]
    answer = gateway.ask("openai", "POST", "/v1/chat/completions", {**body, "stream": True})
    assert answer.text.endswith("data: [DONE]\n\n")
    assert "".join(c["choices"][0]["delta"].get("content") or "" for c in sse_data(answer.body)) == whole


def test_what_it_can_do_is_what_it_says(gateway: Gateway, server: str) -> None:
    shown = gateway.ask("ollama", "POST", "/api/show", {"model": "it"}).json["capabilities"]
    assert sorted(shown) == ["completion", "tools"]
    embeddings = gateway.ask("openai", "POST", "/v1/embeddings", {"model": "it", "input": "x"})
    assert embeddings.status == 400
    assert "has no embeddings" in embeddings.json["error"]["message"]
    if server == "llama-server":
        card = gateway.ask("llamacpp", "GET", "/props?model=it").json
        assert card["default_generation_settings"]["n_ctx"] == 8192
        assert card["chat_template"] == (demo.FOLDER / "chat_template.jinja").read_text().rstrip("\n")


def test_a_killed_server_s_stream_never_looks_finished_and_the_next_one_answers(gateway: Gateway) -> None:
    before = worker_pids(gateway)
    connection = HTTPConnection(*gateway.address("openai"), timeout=LOAD_S)
    connection.request("POST", "/v1/completions", json.dumps({**LONG, "stream": True}))
    answer = connection.getresponse()
    begun = answer.readline()
    os.kill(before["serve"][0], signal.SIGKILL)
    said = begun + answer.read()
    connection.close()
    *_, last = sse_data(said)
    assert "worker was ended by signal 9" in last["error"]["message"]
    assert b'finish_reason":"' not in said
    again = {"model": "it", "prompt": "x", "max_tokens": 4}
    assert post(gateway, "openai", "/v1/completions", again)["usage"]["completion_tokens"] == 4
    assert not set(worker_pids(gateway)["all"]) & set(before["all"])
    assert not any(map(is_alive, before["all"]))
