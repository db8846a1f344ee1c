"""32 clients at once, of three dialects: each gets what it gets alone. Greedy, so that the answer is one."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp

from tests.e2e.gateway_process import Gateway

STARTS = (
    "import ",
    "def add(a, b):\n",
    "class Stack:\n",
    "for i in range(",
    "if __name__",
    "try:\n    ",
    "# A ",
    "x = [",
)
NUM_TOKENS = 24


def request(number: int) -> tuple[str, str, dict[str, Any]]:
    """Persona, path, body: of every dialect in turn, each prompt another, of several lengths."""
    prompt = f"# {number}\n" * (1 + number % 5) + STARTS[number % len(STARTS)]
    match number % 3:
        case 0:
            return "openai", "/v1/completions", {"prompt": prompt, "max_tokens": NUM_TOKENS, "temperature": 0}
        case 1:
            return "llamacpp", "/completion", {"prompt": prompt, "n_predict": NUM_TOKENS, "temperature": 0}
        case _:
            options = {"num_predict": NUM_TOKENS, "temperature": 0}
            return "ollama", "/api/generate", {"model": "demo", "prompt": prompt, "raw": True, "stream": False,
                                               "options": options}  # fmt: skip


def text_of(answer: dict[str, Any]) -> str:
    text: str = answer["choices"][0]["text"] if "choices" in answer else answer.get("content") or answer["response"]
    return text


async def ask(session: aiohttp.ClientSession, dragoman: Gateway, number: int) -> str:
    persona, path, body = request(number)
    async with session.post(dragoman.urls[persona] + path, data=json.dumps(body)) as response:
        assert response.status == 200, await response.text()
        answer = await response.json()
        text: str = (
            answer["choices"][0]["text"] if "choices" in answer else answer.get("content", answer.get("response"))
        )
        return text


async def test_each_of_32_gets_what_it_gets_alone(dragoman: Gateway) -> None:
    async with aiohttp.ClientSession() as session:
        alone = [await ask(session, dragoman, number) for number in range(32)]
        together = await asyncio.gather(*(ask(session, dragoman, number) for number in range(32)))
    assert together == alone
    assert all(alone)
