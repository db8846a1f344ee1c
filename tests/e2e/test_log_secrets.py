"""Nothing that the process writes holds a key or a prompt, whatever is asked of it and however."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.e2e.gateway_process import PERSONAS, Gateway, running_gateway

KEY = "sk-the-key-itself"
WORDS = "the words of a prompt"
MODELS = f"""
models: {{demo: {{backend: engine}}}}
keys: {{alice: {{key: {KEY}}}}}
"""
NOT_HTTP = [
    f"GET /v1/models?key={KEY} HTTP/9.9\r\n\r\n",
    f"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\x01\r\n\r\n",
    f"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX {KEY}: 1\r\n\r\n",
    f"GET /{KEY * 5000} HTTP/1.1\r\nHost: localhost\r\n\r\n",
    f"POST /completion HTTP/1.1\r\nHost: localhost\r\nContent-Length: {KEY}\r\n\r\n",
    f"{WORDS} {KEY}\r\n\r\n",
]
SHORT = {"model": "demo", "n_predict": 2, "max_tokens": 2, "max_output_tokens": 2, "options": {"num_predict": 2}}
BODIES: list[object] = [
    SHORT | {"prompt": WORDS, "messages": [{"role": "user", "content": WORDS}], "input": WORDS},
    SHORT | {"prompt": {WORDS: 1}, "messages": [{"role": WORDS, "content": WORDS}], "input": 1},
    SHORT | {"prompt": "a", "messages": [{"role": "user", "content": "a"}], "temperature": WORDS},
    f'{{"prompt": "{WORDS}'.encode(),
]
PATHS = ["/v1/chat/completions", "/v1/completions", "/v1/messages", "/v1/responses", "/completion", "/infill",
         "/tokenize", "/api/chat", "/api/generate", "/v1/embeddings", "/nowhere"]  # fmt: skip


@pytest.fixture
def log(tmp_path: Path) -> str:
    with running_gateway(tmp_path, MODELS) as dragoman:
        _ask_everything(dragoman)
    return (tmp_path / "log").read_text()


def _ask_everything(dragoman: Gateway) -> None:
    for persona in PERSONAS:
        for path in PATHS:
            for body in BODIES:
                dragoman.ask(persona, "POST", f"{path}?key={KEY}", body)
                dragoman.ask(persona, "POST", path, body, {"Authorization": f"Bearer {KEY}x"})
        for request in NOT_HTTP:
            with socket.create_connection(dragoman.address(persona), timeout=30) as connection:
                connection.sendall(request.encode("latin-1"))
                connection.recv(4096)


def test_no_key_and_no_prompt_is_ever_written(log: str) -> None:
    assert '"status":200' in log
    assert '"status":400' in log
    assert '"status":401' in log
    assert "a request that isn't HTTP" in log
    assert KEY not in log
    assert WORDS not in log
