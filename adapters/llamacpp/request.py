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
