from __future__ import annotations

from typing import Any

import pytest

from adapters.base import Dialect
from adapters.lmstudio.chats import Chats
from adapters.lmstudio.dialect import make_dialect
from backends.errors import InvalidField, Unsupported
from backends.request import ChatPrompt, Image, Message
from tests.fakes import FakeModels, ScriptedBackend, answer, call

PIXEL = "iVBORw0KGgo="


async def ask(dialect: Dialect, backend: ScriptedBackend, body: dict[str, Any]) -> Any:
    asked = call("POST", "/api/v1/chat", {"model": "m"} | body, models=FakeModels.of(backend))
    return (await answer(dialect.verbs["chat_v1"], asked)).json


def messages(backend: ScriptedBackend) -> tuple[Message, ...]:
    (prompt,) = backend.requests[-1].prompts
    assert isinstance(prompt, ChatPrompt)
    return prompt.messages


async def test_a_chat_goes_on_where_it_was_left() -> None:
    dialect, backend = make_dialect(Chats()), ScriptedBackend()
    first = await ask(dialect, backend, {"input": "Hi", "system_prompt": "Be brief."})
    second = await ask(dialect, backend, {"input": "And?", "previous_response_id": first["response_id"]})
    assert second["response_id"].startswith("resp_")
    assert [(message.role, message.content) for message in messages(backend)] == [
        ("user", "Hi"), ("assistant", "Hello world"), ("user", "And?"),
    ]  # fmt: skip


async def test_a_chat_that_is_not_stored_is_not_found() -> None:
    dialect, backend = make_dialect(Chats()), ScriptedBackend()
    assert "response_id" not in await ask(dialect, backend, {"input": "Hi", "store": False})
    with pytest.raises(InvalidField, match="previous_response_id"):
        await ask(dialect, backend, {"input": "Hi", "previous_response_id": "resp_" + "0" * 32})


async def test_old_chats_make_room() -> None:
    chats = Chats()
    for number in range(513):
        chats.put(str(number), ())
    with pytest.raises(InvalidField):
        chats.get("0")
    assert chats.get("512") == ()


async def test_every_setting_arrives() -> None:
    backend = ScriptedBackend()
    items = [
        {"type": "text", "content": "What is it?"},
        {"type": "image", "data_url": f"data:x/y;base64,{PIXEL}"},
    ]
    settings = {"temperature": 0.5, "top_p": 0.8, "top_k": 7, "min_p": 0.1, "repeat_penalty": 1.2,
                "max_output_tokens": 9, "reasoning": "off"}  # fmt: skip
    await ask(make_dialect(Chats()), backend, {"input": items, **settings})
    (request,) = backend.requests
    sampling = request.sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k, sampling.min_p) == (0.5, 0.8, 7, 0.1)
    assert (sampling.repetition_penalty, request.max_tokens, request.reasoning) == (1.2, 9, False)
    (message,) = messages(backend)
    assert message.content == "What is it?"
    assert message.images == (Image("x/y", b"\x89PNG\r\n\x1a\n"),)


async def test_what_is_no_image_and_what_nobody_runs_is_refused_by_name() -> None:
    dialect, backend = make_dialect(Chats()), ScriptedBackend()
    with pytest.raises(InvalidField, match=r"input\.0\.data_url"):
        await ask(dialect, backend, {"input": [{"type": "image", "data_url": "http://x/y.png"}]})
    with pytest.raises(Unsupported, match="integrations"):
        await ask(dialect, backend, {"input": "Hi", "integrations": ["mcp/playwright"]})


async def test_a_model_is_unloaded_when_nobody_uses_it() -> None:
    models = FakeModels.of()
    asked = call("POST", "/api/v1/models/unload", {"instance_id": "demo"}, models=models)
    assert (await answer(make_dialect(Chats()).verbs["unload"], asked)).json == {"instance_id": "demo"}
    assert models.kept_s == {"demo": 0}
