"""/tokenize and /detokenize in vLLM's form (vllm entrypoints/serve/tokenize/protocol.py).

llama.cpp has the same paths: its bodies hold `content`, vLLM's `prompt` or `messages`. /detokenize can't be told apart,
so its answer carries both servers' keys.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from adapters.base import Call, Reply
from adapters.body import Body
from adapters.framing import to_json
from adapters.openai.common import resolve
from adapters.openai.messages import WireMessage, WireTool, to_messages, to_tools
from backends.base import Backend
from backends.errors import MissingField
from backends.request import ChatPrompt


class TokenizeBody(Body):
    """add_special_tokens: by default for a prompt, and not for messages, whose template brings them."""

    model: str | None = None
    prompt: str | None = None
    content: str | None = None
    messages: tuple[WireMessage, ...] | None = None
    tools: tuple[WireTool, ...] = ()
    add_special_tokens: bool | None = None
    add_special: bool = False
    add_generation_prompt: bool = True
    continue_final_message: bool = False
    chat_template_kwargs: dict[str, Any] = Field(default_factory=dict)
    return_token_strs: bool = False


class DetokenizeBody(Body):
    tokens: tuple[int, ...]
    model: str | None = None


async def tokenize(call: Call) -> Reply:
    """Raises MissingField for a body with nothing to tokenize."""
    body = TokenizeBody.parse(call)
    served = resolve(call, body.model)
    backend = served.backend
    if body.messages is not None:
        text = await backend.render_chat(_chat(body))
        tokens = await backend.tokenize(text, add_special=bool(body.add_special_tokens))
    elif body.prompt is not None:
        tokens = await backend.tokenize(body.prompt, add_special=body.add_special_tokens is not False)
    elif body.content is not None:
        return Reply(to_json({"tokens": await backend.tokenize(body.content, add_special=body.add_special)}))
    else:
        raise MissingField("prompt")
    names = await _names(backend, tokens) if body.return_token_strs else None
    shape = {"count": len(tokens), "max_model_len": served.info.window, "tokens": tokens, "token_strs": names}
    return Reply(to_json(shape))


async def detokenize(call: Call) -> Reply:
    """Raises InvalidField for an id outside the vocabulary."""
    body = DetokenizeBody.parse(call)
    text = await resolve(call, body.model).backend.detokenize(body.tokens)
    return Reply(to_json({"prompt": text, "content": text}))


def _chat(body: TokenizeBody) -> ChatPrompt:
    return ChatPrompt(
        messages=to_messages(body.messages or ()),
        tools=to_tools(body.tools),
        continue_final=body.continue_final_message,
        add_generation_prompt=body.add_generation_prompt,
        template_args=body.chat_template_kwargs,
    )


async def _names(backend: Backend, tokens: list[int]) -> list[str]:
    return [(await backend.token_bytes(token)).decode("utf-8", "replace") for token in tokens]
