"""The Ollama dialect: its verbs, its errors, and what a browser may do. Where it differs from Ollama on purpose:

- A prompt or a chat that is longer than the window is refused with both numbers; Ollama drops old messages unasked.
- `num_ctx` and its like have no effect, and are reported as ignored, as options are that nobody knows.
- `template` without `prompt` is the prompt (Continue of 2023); today's Ollama takes it for a request to load.
- An alias of a model is listed as a model, and a configured model can't be deleted.
- In the OpenAI layer an error in the middle of a stream is told; Ollama ends the stream without a word. And there a
  request that names no model goes to the default one: it comes from a client that was made for another server.
"""

from __future__ import annotations

from adapters.base import Call, Dialect, Reply
from adapters.ollama.account import me, signout, status
from adapters.ollama.chat import chat
from adapters.ollama.cors import cors, preflight
from adapters.ollama.embed import embed, embeddings
from adapters.ollama.errors import error_reply, unknown_route, wrong_method
from adapters.ollama.generate import generate
from adapters.ollama.manage import blob_create, blob_head, copy, create, delete, pull, push
from adapters.ollama.messages_v1 import messages_v1
from adapters.ollama.models import ps, show, tags, version
from adapters.ollama.openai_chat import chat_v1
from adapters.ollama.openai_completions import completions_v1
from adapters.ollama.openai_models import embeddings_v1, model_v1, models_v1
from adapters.ollama.responses import responses_v1


async def root(_call: Call) -> Reply:
    """What a browser shows, and what clients probe for a sign of life."""
    return Reply(b"Ollama is running", content_type="text/plain; charset=utf-8")


DIALECT = Dialect(
    name="ollama",
    verbs={
        "root": root,
        "version": version,
        "status": status,
        "me": me,
        "signout": signout,
        "tags": tags,
        "ps": ps,
        "show": show,
        "generate": generate,
        "chat": chat,
        "embed": embed,
        "embeddings": embeddings,
        "pull": pull,
        "push": push,
        "create": create,
        "copy": copy,
        "delete": delete,
        "blob_head": blob_head,
        "blob_create": blob_create,
        "chat_v1": chat_v1,
        "completions_v1": completions_v1,
        "messages_v1": messages_v1,
        "responses_v1": responses_v1,
        "models_v1": models_v1,
        "model_v1": model_v1,
        "embeddings_v1": embeddings_v1,
    },
    error=error_reply,
    unknown_route=unknown_route,
    wrong_method=wrong_method,
    preflight=preflight,
    cors=cors,
    public=frozenset({"root", "version"}),
)
