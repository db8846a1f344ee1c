"""A llama.cpp request as a whole: which model, which fields, and the GenerateRequest that they make.

Every generating route of the server goes through here; prompts are its own affair.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from adapters.base import Call, KeepAlive, Served
from adapters.llamacpp.fields import HONOURED, Fields
from adapters.llamacpp.sampling import to_sampling
from backends.base import BackendState
from backends.request import GenerateRequest, Prompt

_MAX_CHOICES = 128  # where a backend's slots aren't known
_OPENAI_FIELDS = frozenset({"max_tokens", "encoding_format", "dimensions"})
_NATIVE_FIELDS = frozenset({
    "n_predict", "id_slot", "slot_id", "cache_prompt", "n_probs", "samplers", "t_max_predict_ms", "n_keep", "mirostat",
    "repeat_penalty", "repeat_last_n", "content",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as read. prefill: the beginning of the answer, where a chat's client sent it."""

    served: Served
    request: GenerateRequest
    fields: Fields
    prefill: str = ""

    @property
    def keep_alive(self) -> KeepAlive | None:
        interval_s = self.fields.sse_ping_interval
        return KeepAlive(interval_s, lambda: b":\n\n") if interval_s > 0 else None


def resolve(call: Call, body: Mapping[str, Any]) -> Served:
    """The model that the body names; llama.vim always sends `""`. Raises UnknownModel."""
    name = body.get("model")
    return call.models.resolve(name if isinstance(name, str) else None)


def is_openai_client(call: Call, body: Mapping[str, Any]) -> bool:
    """Does this come from OpenAI's SDK or the like, at a route whose own answer such a client can't read?

    Its SDKs say so in their headers; others are known by OpenAI's fields beside none of llama.cpp's.
    """
    agent = call.headers.get("User-Agent", "")
    if agent.startswith("OpenAI/") or any(name.lower().startswith("x-stainless-") for name in call.headers):
        return True
    has_openai_fields = "model" in body and bool(_OPENAI_FIELDS & body.keys())
    return has_openai_fields and not _NATIVE_FIELDS & body.keys()


async def read_fields(call: Call, body: Mapping[str, Any], served: Served, known: frozenset[str]) -> Fields:
    """known: the fields beside these that the route honours; all others are noted as ignored. Raises Refusal."""
    fields = Fields.read(body, num_slots=len(served.backend.slots) or _MAX_CHOICES)
    honoured = HONOURED | known | {"model"}
    call.ignored += [name for name, value in body.items() if value is not None and name not in honoured]
    if fields.post_sampling_probs:
        call.ignored.append("post_sampling_probs")  # the names are as asked, the numbers are from before sampling
    return replace(fields, logit_bias=(*fields.logit_bias, *await _eos_ban(served))) if fields.ignore_eos else fields


async def _eos_ban(served: Served) -> tuple[tuple[int, float], ...]:
    """The server carries `ignore_eos` out as a ban, and tells it back as one."""
    if served.backend.state is not BackendState.READY or not served.info.eos_token:
        return ()
    token_ids = await served.backend.tokenize(served.info.eos_token, add_special=False)
    return ((token_ids[0], -math.inf),) if len(token_ids) == 1 else ()


def to_request(call: Call, prompts: Sequence[Prompt], fields: Fields, served: Served) -> GenerateRequest:
    return GenerateRequest(
        id=call.id,
        prompts=tuple(prompts),
        max_tokens=fields.n_predict if fields.n_predict >= 0 else None,
        stop=tuple(text for text in fields.stop if text),
        ignore_eos=fields.ignore_eos,
        n=fields.n_cmpl,
        sampling=to_sampling(fields, served.info.vocab_size),
        top_logprobs=fields.n_probs if fields.n_probs > 0 else None,
        output=fields.output,
        cache_prompt=fields.cache_prompt,
        deadline_s=fields.t_max_predict_ms / 1000 if fields.t_max_predict_ms > 0 else None,
    )
