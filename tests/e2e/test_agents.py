"""Coding agents as they are published, each asked one thing on the command line. They sample as they like, so what they
say is no matter: that they say something, and that the gateway refused none of what they asked."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.e2e.gateway_process import Gateway
from tests.e2e.sdk import installed_or_skipped, said

QUESTION = "What are you?"


def errors_of(dragoman: Gateway, agent: str) -> dict[str, int]:
    """What the gateway has refused to clients whose User-Agent has this in it; some must have asked."""
    clients = dragoman.ask("openai", "GET", "/gateway/clients").json["clients"]
    mine = [client for client in clients if agent.lower() in client["agent"].lower()]
    assert mine, [client["agent"] for client in clients]
    errors = {error: count for client in mine for error, count in client["errors"].items()}
    errors.pop("499 the client left", None)  # it may have gone before the answer to a probe of its own
    return errors


def test_codex(dragoman: Gateway, tmp_path: Path) -> None:
    program = installed_or_skipped("node-codex") / "node_modules/.bin/codex"
    asked = ["exec", "--oss", "--local-provider", "ollama", "-m", "demo", "--skip-git-repo-check", "-s", "read-only"]
    base = dragoman.urls["ollama"] + "/v1"
    answer = said([program, *asked, QUESTION], tmp_path, CODEX_HOME=str(tmp_path), CODEX_OSS_BASE_URL=base)
    assert answer.strip()
    assert not errors_of(dragoman, "codex")


def test_claude_code(dragoman: Gateway, tmp_path: Path) -> None:
    program = installed_or_skipped("node-claude-code") / "node_modules/.bin/claude"
    asked = ["-p", QUESTION, "--model", "demo", "--bare", "--tools", "", "--output-format", "json"]
    answer = said(
        [program, *asked],
        tmp_path,
        ANTHROPIC_BASE_URL=dragoman.urls["openai"],
        ANTHROPIC_API_KEY="none",
        CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1",
    )
    told = json.loads(answer)
    assert (told["is_error"], told["subtype"]) == (False, "success")
    assert told["usage"]["output_tokens"] > 0
    assert not errors_of(dragoman, "claude-cli")


def test_opencode(dragoman: Gateway, tmp_path: Path) -> None:
    program = installed_or_skipped("node-opencode") / "node_modules/.bin/opencode"
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "options": {"baseURL": dragoman.urls["openai"] + "/v1", "apiKey": "none"},
        "models": {"demo": {"name": "demo"}},
    }
    config = {"autoupdate": False, "share": "disabled", "provider": {"local": provider}, "model": "local/demo",
              "tools": dict.fromkeys(("bash", "edit", "write", "patch", "webfetch"), False)}  # fmt: skip
    (tmp_path / "opencode.json").write_text(json.dumps(config))
    said([program, "run", "-m", "local/demo", QUESTION], tmp_path, OPENCODE_DISABLE_MODELS_FETCH="1")
    assert not errors_of(dragoman, "opencode")


def test_continue(dragoman: Gateway, tmp_path: Path) -> None:
    program = installed_or_skipped("node-continue") / "node_modules/.bin/cn"
    (tmp_path / "config.yaml").write_text(f"""
name: local
version: 0.0.1
schema: v1
models:
  - {{name: demo, provider: openai, model: demo, apiBase: {dragoman.urls["openai"]}/v1, apiKey: none, roles: [chat]}}
""")
    config = str(tmp_path / "config.yaml")
    assert said([program, "--config", config, "-p", QUESTION], tmp_path, CONTINUE_TELEMETRY_ENABLED="0").strip()
    assert not errors_of(dragoman, "ls/JS")


@pytest.mark.parametrize(
    ("model", "persona", "base"), [("openai/demo", "openai", "/v1"), ("ollama/demo", "ollama", "")]
)
def test_aider(dragoman: Gateway, tmp_path: Path, model: str, persona: str, base: str) -> None:
    packages = installed_or_skipped("aider")
    url = dragoman.urls[persona] + base
    options = "--yes-always --no-git --no-check-update --analytics-disable --no-show-model-warnings --no-pretty"
    command = [sys.executable, "-m", "aider", *options.split(), "--no-show-release-notes", "--edit-format", "ask"]
    answer = said(
        [*command, "--map-tokens", "0", "--model", f"{persona}/demo", "--message", QUESTION],
        tmp_path,
        PYTHONPATH=str(packages),
        OPENAI_API_BASE=url,
        OPENAI_API_KEY="none",
        OLLAMA_API_BASE=url,
        LITELLM_LOCAL_MODEL_COST_MAP="True",
    )
    assert "received" in answer
    assert not errors_of(dragoman, "litellm" if persona == "ollama" else "OpenAI/Python")


def test_llm(dragoman: Gateway, tmp_path: Path) -> None:
    packages = installed_or_skipped("llm")
    (tmp_path / "extra-openai-models.yaml").write_text(f"""
- {{model_id: demo, model_name: demo, api_base: {dragoman.urls["openai"]}/v1}}
""")
    command = [sys.executable, "-m", "llm", "-m", "demo", "-o", "max_tokens", "24", QUESTION]
    answer = said(command, tmp_path, LLM_USER_PATH=str(tmp_path), OPENAI_API_KEY="none", PYTHONPATH=str(packages))
    assert answer.strip()
