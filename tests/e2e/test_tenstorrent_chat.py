"""The chat participant `@tenstorrent` of the VS Code extension: is it up, then one streamed chat.

Source: tenstorrent/tt-vscode-toolkit, whose model name is fixed and which reads deltas until `[DONE]`.
"""

from __future__ import annotations

from tests.e2e.gateway_process import Gateway, sse_data

ASKED = {
    "model": "Llama-3.1-8B-Instruct",
    "messages": [
        {"role": "system", "content": "You are a helpful assistant for Tenstorrent hardware."},
        {"role": "user", "content": "What are you?"},
    ],
    "max_tokens": 32,
    "temperature": 0,
    "stream": True,
}


def test_it_is_up_and_it_chats(dragoman: Gateway) -> None:
    assert dragoman.ask("openai", "GET", "/health").status == 200
    answer = dragoman.ask("openai", "POST", "/v1/chat/completions", ASKED, {"Content-Type": "application/json"})
    assert (answer.status, answer.headers["Content-Type"].partition(";")[0]) == (200, "text/event-stream")
    assert answer.body.endswith(b"data: [DONE]\n\n")
    choices = [event["choices"][0] for event in sse_data(answer.body)]
    assert choices[0]["delta"]["role"] == "assistant"
    assert "".join(choice["delta"].get("content") or "" for choice in choices).strip()
    assert choices[-1]["finish_reason"] in {"stop", "length"}
