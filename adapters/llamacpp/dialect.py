"""The dialect of llama.cpp's server: its verbs, how it fails, and what a browser may do.

Unlike the server itself it takes `/v1/completion`, keeps the early-2024 fields, and answers OpenAI's clients at
`/completions` so that they can read it. Source: llama.cpp tools/server/{server,server-http}.cpp.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from adapters.base import Call, Dialect, Reply
from adapters.llamacpp import probes
from adapters.llamacpp.chat import apply_template, chat
from adapters.llamacpp.embeddings import embedding, rerank, v1_embeddings
from adapters.llamacpp.errors import early_reply, error_reply
from adapters.llamacpp.infill import infill
from adapters.llamacpp.messages import count_tokens, messages
from adapters.llamacpp.metrics import metrics
from adapters.llamacpp.responses import input_tokens, responses
from adapters.llamacpp.streams import stream, stream_delete, streams_lookup
from adapters.llamacpp.text import bilingual, completion, completions
from adapters.llamacpp.tokens import detokenize, tokenize
from backends.errors import NotReady


def unknown_route(call: Call, nearest: str | None) -> Reply:
    """While the server loads its model, every path says so."""
    try:
        probes.check_loaded(call.models.resolve(None))
    except NotReady as loading:
        return error_reply(loading, call)
    hint = f": did you mean {nearest}?" if nearest else ""
    return early_reply(f"File Not Found{hint}", "not_found_error", 404)


def wrong_method(call: Call, _allowed: Sequence[str]) -> Reply:
    """The server knows no 405."""
    return unknown_route(call, None)


def cors(origin: str | None) -> Mapping[str, str]:
    """The page's own origin comes back, whichever it is; a client that isn't a page gets the header empty."""
    return {"Access-Control-Allow-Origin": origin or ""}


def preflight(_call: Call) -> Reply:
    headers = {
        "Access-Control-Allow-Credentials": "true",
        "Access-Control-Allow-Methods": "GET, POST, DELETE, OPTIONS",
        "Access-Control-Allow-Headers": "*",
    }
    return Reply(content_type="text/html", headers=headers)


DIALECT = Dialect(
    name="llamacpp",
    verbs={
        "completion": completion,
        "bilingual": bilingual,
        "infill": infill,
        "completions": completions,
        "chat": chat,
        "input_tokens": input_tokens,
        "responses": responses,
        "messages": messages,
        "count_tokens": count_tokens,
        "control": probes.control,
        "apply_template": apply_template,
        "tokenize": tokenize,
        "detokenize": detokenize,
        "embedding": embedding,
        "v1_embeddings": v1_embeddings,
        "rerank": rerank,
        "models": probes.models,
        "props": probes.props,
        "props_set": probes.props_set,
        "slots": probes.slots,
        "slot_action": probes.slot_action,
        "health": probes.health,
        "metrics": metrics,
        "lora_adapters": probes.lora_adapters,
        "lora_adapters_set": probes.lora_adapters_set,
        "disabled": probes.disabled,
        "stream": stream,
        "stream_delete": stream_delete,
        "streams_lookup": streams_lookup,
        "transcriptions": probes.transcriptions,
    },
    error=error_reply,
    unknown_route=unknown_route,
    wrong_method=wrong_method,
    preflight=preflight,
    cors=cors,
    public=frozenset({"health"}),
    headers={"Server": "llama.cpp"},
)
