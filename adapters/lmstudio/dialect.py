"""The dialect of LM Studio: its verbs, its errors, and what a browser may do.

Where it differs from the server on purpose:

- Any page may call; LM Studio asks its user first.
- Samplers that a request doesn't name are the model's own; LM Studio's come from the user's presets.
- `integrations` are refused, because no tool is run here; a model that is being loaded is waited for, without events.
- GET /api/v1/models also has OpenAI's list, which other servers have at that path.
"""

from __future__ import annotations

from adapters.base import Call, Dialect, Reply
from adapters.lmstudio.chat import Chatting
from adapters.lmstudio.chats import Chats
from adapters.lmstudio.errors import error_reply, unknown_route, wrong_method
from adapters.lmstudio.models import download, download_status, load, model_v0, models_v0, models_v1, unload
from adapters.lmstudio.v0 import chat, completions
from adapters.openai.dialect import cors, preflight
from adapters.openai.embeddings import embeddings


async def root(call: Call) -> Reply:
    """There is no page."""
    return unknown_route(call, None)


def make_dialect(chats: Chats) -> Dialect:
    """chats: what /api/v1/chat remembers."""
    return Dialect(
        name="lmstudio",
        verbs={
            "chat": chat,
            "chat_v1": Chatting(chats).chat,
            "completions": completions,
            "download": download,
            "download_status": download_status,
            "embeddings": embeddings,
            "load": load,
            "model": model_v0,
            "models": models_v0,
            "models_v1": models_v1,
            "root": root,
            "unload": unload,
        },
        error=error_reply,
        unknown_route=unknown_route,
        wrong_method=wrong_method,
        preflight=preflight,
        cors=cors,
        headers={"X-Powered-By": "Express"},
        public=frozenset({"root"}),
    )


DIALECT = make_dialect(Chats())
