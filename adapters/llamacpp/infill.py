"""POST /infill: fill in between `input_prefix` and `input_suffix`. The answer is the native one of /completion.

Source: llama.cpp tools/server/server-context.cpp (post_infill) and server-common.cpp (format_prompt_infill).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from adapters.base import Call
from adapters.llamacpp.completion import CompletionExchange
from adapters.llamacpp.errors import Refusal, missing_key, type_name
from adapters.llamacpp.request import Asked, read_fields, resolve, to_request
from adapters.llamacpp.tokens import to_parts
from backends.base import Backend
from backends.errors import Unsupported
from backends.request import InfillPrompt

_KNOWN = frozenset({"input_prefix", "input_suffix", "input_extra", "prompt"})
_BATCH = 2048  # tokens, by default; a quarter is for the suffix, the rest for the prefix
_SENTINELS = 16  # tokens that no client's text stands for: sentinels and file separators, with some to spare


async def infill(call: Call) -> CompletionExchange:
    body = _read(call)
    served = resolve(call, body)
    async with call.models.acquire(served) as backend:
        if "insert" not in backend.info.capabilities:
            raise Unsupported("the model can't fill in the middle", feature="infill")
        wanted = await _read_prompt(body, backend)
        prompt = await _without_excess(await _near_ends(wanted, backend), backend)
    pairs = {"input_prefix": "prefix", "input_suffix": "suffix", "input_extra": "extra"}
    call.ignored += [name for name, part in pairs.items() if getattr(prompt, part) != getattr(wanted, part)]
    fields = await read_fields(call, body, served, _KNOWN)
    return CompletionExchange(Asked(served, to_request(call, (prompt,), fields, served), fields))


def _read(call: Call) -> dict[str, Any]:
    body = call.json()
    if not isinstance(body, dict | None):
        kind = type_name(body)
        raise Refusal(
            f"[json.exception.type_error.305] cannot use operator[] with a string argument with {kind}", "server_error"
        )
    return body or {}


async def _read_prompt(body: dict[str, Any], backend: Backend) -> InfillPrompt:
    """The server checks these, goes on all the same, and fails where one of the two sides is missing."""
    start = body.get("prompt")
    extra = _read_extra(body["input_extra"]) if "input_extra" in body else ()
    for key in ("input_suffix", "input_prefix"):
        if key not in body:
            raise missing_key(key, "server_error")
    prefix, suffix = [await _text(body[key], backend) for key in ("input_prefix", "input_suffix")]
    return InfillPrompt(prefix, suffix, extra, start if isinstance(start, str) else "")


async def _text(value: object, backend: Backend) -> str:
    """Ids may stand in it, as in any prompt."""
    parts = [part if isinstance(part, str) else await backend.detokenize([part]) for part in to_parts(value)]
    return "".join(parts)


def _read_extra(value: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, list):
        raise Refusal('"input_extra" must be an array of {"filename": string, "text": string}')
    return tuple(_read_chunk(chunk) for chunk in value)


def _read_chunk(chunk: object) -> tuple[str, str]:
    text = chunk.get("text") if isinstance(chunk, dict) else None
    if not isinstance(text, str):
        raise Refusal('extra_context chunk must contain a "text" field with a string value')
    name = chunk.get("filename", "tmp") if isinstance(chunk, dict) else None
    if not isinstance(name, str):
        raise Refusal('extra_context chunk\'s "filename" field must be a string')
    return name, text


async def _near_ends(prompt: InfillPrompt, backend: Backend) -> InfillPrompt:
    """What is far from the gap is left out: the server takes as much of both sides as goes into one batch."""
    most = _BATCH // 4 - 2 - len(await backend.tokenize(prompt.start, add_special=False))
    prefix = await _cut(prompt.prefix, slice(-3 * (_BATCH // 4), None), backend)
    suffix = await _cut(prompt.suffix, slice(max(0, most)), backend)
    return replace(prompt, prefix=prefix, suffix=suffix)


async def _cut(text: str, kept: slice, backend: Backend) -> str:
    if len(text.encode()) <= abs(kept.start or kept.stop):  # a token is a byte at least
        return text
    token_ids = await backend.tokenize(text, add_special=False)
    return text if len(token_ids[kept]) == len(token_ids) else await backend.detokenize(token_ids[kept])


async def _without_excess(prompt: InfillPrompt, backend: Backend) -> InfillPrompt:
    """As much of the extra context as fits, the last first: editors send more than the window holds, on purpose."""
    window = backend.info.window
    texts = [prompt.prefix, prompt.suffix, prompt.start]
    sizes = [len(f"{name}{text}".encode()) + _SENTINELS for name, text in prompt.extra]
    room = window - _SENTINELS - sum(len(text.encode()) for text in texts)
    if sum(sizes) <= room:  # a token is a byte at least
        return prompt
    counts = [len(await backend.tokenize(text, add_special=False)) for text in texts]
    room = window - window // 4 - sum(counts)  # a quarter is for the answer
    kept: list[tuple[str, str]] = []
    for name, text in reversed(prompt.extra):
        room -= len(await backend.tokenize(f"{name}\n{text}", add_special=False)) + _SENTINELS
        if room < 0:
            break
        kept.insert(0, (name, text))
    return InfillPrompt(prompt.prefix, prompt.suffix, tuple(kept), prompt.start)
