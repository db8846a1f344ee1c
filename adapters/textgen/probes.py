"""text-generation-webui's routes that generate nothing: the model and the tokenizer, old and new.

Wire facts: text-generation-webui modules/api/script.py, tokens.py and models.py; extensions/api/blocking_api.py of
November 2023.
"""

from __future__ import annotations

from typing import Any

from pydantic import StrictStr

from adapters.base import Call, Reply, Served
from adapters.body import Body
from adapters.framing import to_json
from adapters.openai.chat_body import ChatBody
from adapters.textgen.exchange import python_reply
from backends.errors import InvalidField, UnknownModel


class TextBody(Body):
    text: StrictStr


class PromptBody(Body):
    prompt: StrictStr


class TokensBody(Body):
    tokens: tuple[int, ...]


class ActionBody(Body):
    """load: as soon as somebody asks for it; args have no effect."""

    action: str = ""
    model_name: str = ""


class LoadBody(Body):
    model_name: StrictStr


async def health(_call: Call) -> Reply:
    return Reply(b'{"status":"ok"}')


async def encode(call: Call) -> Reply:
    tokens = await _tokens(call, TextBody.parse(call).text)
    return Reply(to_json({"tokens": tokens, "length": len(tokens)}))


async def token_count(call: Call) -> Reply:
    return Reply(to_json({"length": len(await _tokens(call, TextBody.parse(call).text))}))


async def legacy_token_count(call: Call) -> Reply:
    return python_reply({"results": [{"tokens": len(await _tokens(call, PromptBody.parse(call).prompt))}]})


async def _tokens(call: Call, text: str) -> list[int]:
    """With the model's begin of text, if it has one."""
    async with call.models.acquire(call.models.resolve(None)) as backend:
        return await backend.tokenize(text, add_special=True)


async def decode(call: Call) -> Reply:
    """Raises InvalidField for an id outside the vocabulary."""
    body = TokensBody.parse(call)
    async with call.models.acquire(call.models.resolve(None)) as backend:
        return Reply(to_json({"text": await backend.detokenize(body.tokens)}))


async def chat_prompt(call: Call) -> Reply:
    body = ChatBody.parse(call)
    async with call.models.acquire(call.models.resolve(None)) as backend:
        return Reply(to_json({"prompt": await backend.render_chat(body.chat_prompt())}))


async def model_info(call: Call) -> Reply:
    return Reply(to_json(_info(call.models.resolve(None))))


async def model_list(call: Call) -> Reply:
    return Reply(to_json({"model_names": [served.name for served in call.models.all()]}))


async def lora_list(_call: Call) -> Reply:
    return Reply(b'{"lora_names":[]}')


async def model_load(call: Call) -> Reply:
    """Raises UnknownModel, NotReady or BackendFailed."""
    await _load(call, LoadBody.parse(call).model_name)
    return Reply(b'"OK"')


async def model_unload(call: Call) -> Reply:
    call.models.keep_alive(call.models.resolve(None), 0)
    return Reply(b'"OK"')


async def models(call: Call) -> Reply:
    data = [{"id": x.name, "object": "model", "created": 0, "owned_by": "user"} for x in call.models.all()]
    return Reply(to_json({"object": "list", "data": data}))


async def legacy_model(call: Call) -> Reply:
    return python_reply({"result": call.models.resolve(None).name})


async def legacy_model_action(call: Call) -> Reply:
    """Raises InvalidField, or UnknownModel."""
    body = ActionBody.parse(call)
    served = call.models.resolve(None)
    match body.action:
        case "":
            result: Any = served.name
        case "info":
            result = _info(served)
        case "list":
            result = [model.name for model in call.models.all()]
        case "load":
            result = _info(await _load(call, body.model_name))
        case "unload":
            call.models.keep_alive(served, 0)
            result = _info(served)
        case _:
            raise InvalidField("action", "expected load, unload, list or info", body.action)
    return python_reply({"result": result})


async def _load(call: Call, name: str) -> Served:
    served = call.models.find(name)
    if served is None:
        raise UnknownModel(name)
    async with call.models.acquire(served):
        return served


def _info(served: Served) -> dict[str, Any]:
    return {"model_name": served.name, "lora_names": [], "loader": "dragoman"}
