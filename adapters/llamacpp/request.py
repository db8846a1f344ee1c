"""A llama.cpp request as a whole: which model, which fields, and the GenerateRequest that they make.

Every generating route of the server goes through here; prompts are its own affair.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from adapters.base import Call, KeepAlive, Served
from adapters.llamacpp.errors import Refusal
from adapters.llamacpp.fields import HONOURED, Fields
from adapters.llamacpp.sampling import is_known, to_sampling
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
    if not 0 < fields.repeat_penalty < math.inf:
        raise Refusal("Failed to initialize samplers: penalty_repeat must be finite and greater than 0")
    if served.backend.state is not BackendState.READY:
        return fields
    bans = await _eos_ban(served) if fields.ignore_eos else ()
    return replace(fields, logit_bias=(*await _by_id(served, fields.logit_bias), *bans))


async def _by_id(served: Served, biases: Iterable[tuple[int | str, float]]) -> list[tuple[int | str, float]]:
    """A text stands for its tokens, which is what the server tells back; ids that it doesn't know it drops."""
    found: list[tuple[int | str, float]] = []
    for token, bias in biases:
        ids = [token] if isinstance(token, int) else await served.backend.tokenize(token, add_special=False)
        found += [(token_id, bias) for token_id in ids if is_known(token_id, served.info.vocab_size)]
    return found


async def _eos_ban(served: Served) -> tuple[tuple[int, float], ...]:
    """The server carries `ignore_eos` out as a ban, and tells it back as one."""
    if not served.info.eos_token:
        return ()
    token_ids = await served.backend.tokenize(served.info.eos_token, add_special=False)
    return ((token_ids[0], -math.inf),) if len(token_ids) == 1 else ()


def to_request(call: Call, prompts: Sequence[Prompt], fields: Fields, served: Served) -> GenerateRequest:
    return GenerateRequest(
        id=call.id,
        prompts=tuple(prompts),
        max_tokens=max(1, fields.n_predict) if fields.n_predict >= 0 else None,  # one token comes with the prompt
        stop=tuple(text for text in fields.stop if text),
        ignore_eos=fields.ignore_eos,
        n=fields.n_cmpl,
        sampling=to_sampling(fields, served.info.vocab_size),
        top_logprobs=fields.n_probs if fields.n_probs > 0 else None,
        output=fields.output,
        cache_prompt=fields.cache_prompt,
        deadline_s=fields.t_max_predict_ms / 1000 if fields.t_max_predict_ms > 0 else None,
    )
