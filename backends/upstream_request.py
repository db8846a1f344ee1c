"""A GenerateRequest as the JSON that a server speaking OpenAI's API takes. Pure.

A chat stays a chat, so that the server's own template and parsers are used. What the server can't do and what changes
the answer's meaning is refused by name; what only shades its randomness is left out and named in `ignored`. The order
of samplers and the window of penalties are the server's own, except llama.cpp's, which is told them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from typing_extensions import assert_never

from backends.accent import Accent
from backends.errors import Unsupported
from backends.request import ChatPrompt, GenerateRequest, InfillPrompt, Prompt, Sampling, TextPrompt
from backends.upstream_chat import chat_body
from backends.upstream_format import constraint

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"

_NEUTRAL = {
    "top_k": 0,
    "top_p": 1.0,
    "min_p": 0.0,
    "typical_p": 1.0,
    "top_n_sigma": 0.0,
    "repetition_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
}
_OFF = {"top_k", "top_n_sigma"}  # zero or less changes nothing
_ORDERED = {"top_n_sigma", "top_k", "typical_p", "top_p", "min_p", "temperature"}
_BAN = -100.0  # OpenAI's range ends here
_MAX_SEED = 2**63 - 1


@dataclass(frozen=True, slots=True)
class UpstreamRequest:
    """One POST. streams: the answer comes in pieces; prompt log-probabilities come only in a whole one."""

    path: str
    body: dict[str, Any]
    streams: bool
    ignored: tuple[str, ...] = ()


def to_upstream(
    request: GenerateRequest,
    prompt: Prompt,
    accent: Accent,
    *,
    model: str,
    window: int = 0,
    seed: int | None = None,
    names_by_id: bool = False,
) -> UpstreamRequest:
    """One of the request's choices. window: tokens, 0 where unknown. names_by_id: log-probabilities may name tokens by
    their ids.

    Raises Unsupported.
    """
    if request.best_of is not None and request.best_of != request.n:
        raise Unsupported("this model's server keeps no best of several answers", feature="best_of", param="best_of")
    ignored: list[str] = []
    path, asked = _prompt(prompt, request, accent)
    streams = request.prompt_logprobs is None
    body = {
        "model": model,
        **asked,
        **_length(request, path, accent, window),
        **_sampling(request.sampling, accent, window, ignored),
        **({} if seed is None else {"seed": seed & _MAX_SEED}),
        **_ending(request, accent),
        **_logprobs(request, path, accent, names_by_id),
        **constraint(request.output, accent),
        **_options(request, accent),
        "stream": streams,
    }
    if streams:
        body["stream_options"] = {"include_usage": True}
    return UpstreamRequest(path, body, streams, tuple(ignored))


def _prompt(prompt: Prompt, request: GenerateRequest, accent: Accent) -> tuple[str, dict[str, Any]]:
    match prompt:
        case ChatPrompt():
            return CHAT, chat_body(prompt, request.reasoning, accent)
        case TextPrompt():
            return COMPLETIONS, _text(prompt, accent)
        case InfillPrompt():
            if not accent.has_suffix or prompt.extra:
                raise Unsupported("this model's server can't fill in the middle", feature="infill", param="suffix")
            return COMPLETIONS, {"prompt": prompt.prefix + prompt.start, "suffix": prompt.suffix}
        case _:
            assert_never(prompt)


def _text(prompt: TextPrompt, accent: Accent) -> dict[str, Any]:
    match prompt.parts:
        case (str(text),):
            special = {"add_special_tokens": False} if not prompt.add_special and accent.takes_token_ids else {}
            return {"prompt": text, **special}
        case (tuple(ids),) if accent.takes_token_ids:
            return {"prompt": list(ids)}
        case _:
            raise Unsupported("this model's server takes text only, no token ids", feature="tokens", param="prompt")


def _length(request: GenerateRequest, path: str, accent: Accent, window: int) -> dict[str, Any]:
    """vLLM takes the lesser of what is asked for and the room that is left, but refuses more than its window.

    Evaluating the prompt alone is asking for one token that nobody reads: servers refuse 0.
    """
    if request.max_tokens is not None:
        return {"max_tokens": max(1, min(request.max_tokens, window or request.max_tokens))}
    return {"max_tokens": window} if path == COMPLETIONS and accent.needs_length and window else {}


def _sampling(sampling: Sampling, accent: Accent, window: int, ignored: list[str]) -> dict[str, Any]:
    body: dict[str, Any] = {}
    for name, value in _active(sampling):
        if name in accent.samplers:
            body[accent.samplers[name]] = value
        else:
            ignored.append(name)
    if sampling.logit_bias:
        body["logit_bias"] = _bias(sampling, accent)
    if accent.constraints == "llamacpp":
        return body | _llamacpp_sampling(sampling, window)
    others = {"xtc": sampling.xtc, "dry": sampling.dry, "mirostat": sampling.mirostat}
    ignored += [name for name, value in others.items() if value is not None]
    if sampling.temperature_range > 0:
        ignored.append("dynatemp_range")
    return body


def _active(sampling: Sampling) -> Iterator[tuple[str, Any]]:
    """What is said, by name. A neutral value is said too where the model's own default would act in its place."""
    if sampling.temperature is not None:
        yield "temperature", sampling.temperature if "temperature" in sampling.order else 1.0
    for name, neutral in _NEUTRAL.items():
        value = getattr(sampling, name)
        if value is None:
            continue
        is_off = value == neutral or (name in _OFF and value <= 0)
        if name in _ORDERED and name not in sampling.order:
            is_off = True
        if not is_off:
            yield name, value
        elif name not in ("typical_p", "top_n_sigma"):
            yield name, neutral


def _bias(sampling: Sampling, accent: Accent) -> dict[str, float]:
    if not accent.has_bias or any(isinstance(key, str) for key in sampling.logit_bias):
        raise Unsupported("this model's server can't bias these tokens", feature="logit_bias", param="logit_bias")
    return {str(key): _BAN if value is False else float(value) for key, value in sampling.logit_bias.items()}


def _llamacpp_sampling(sampling: Sampling, window: int) -> dict[str, Any]:
    """llama.cpp tools/server/README.md, POST /completion: its chat route takes the same fields. Those of late 2026
    refuse -1, with which all tokens are looked back at (server-schema.cpp), so that it is said by the window."""

    def looked_back_at(num_tokens: int) -> int:
        return num_tokens if num_tokens >= 0 else window or num_tokens

    names = {"typical_p": "typ_p"}
    body: dict[str, Any] = {
        "samplers": ["penalties", "dry", *(names.get(name, name) for name in sampling.order)],
        "repeat_last_n": looked_back_at(sampling.penalty_window),
    }
    if sampling.dry is not None:
        dry = sampling.dry
        body |= {"dry_multiplier": dry.multiplier, "dry_base": dry.base, "dry_allowed_length": dry.allowed_length}
        body |= {"dry_penalty_last_n": looked_back_at(dry.window), "dry_sequence_breakers": list(dry.breakers)}
    if sampling.xtc is not None:
        body |= {"xtc_probability": sampling.xtc.probability, "xtc_threshold": sampling.xtc.threshold}
    if sampling.mirostat is not None:
        miro = sampling.mirostat
        body |= {"mirostat": miro.version, "mirostat_tau": miro.tau, "mirostat_eta": miro.eta}
    if sampling.temperature_range > 0:
        body |= {"dynatemp_range": sampling.temperature_range, "dynatemp_exponent": sampling.temperature_exponent}
    return body


def _ending(request: GenerateRequest, accent: Accent) -> dict[str, Any]:
    body: dict[str, Any] = {"stop": list(request.stop)} if request.stop else {}
    wanted = {
        "min_tokens": request.min_tokens,
        "stop_token_ids": list(request.stop_token_ids),
        "ignore_eos": request.ignore_eos,
        "include_stop": request.include_stop,
    }
    for name, value in wanted.items():
        if value:
            if name not in accent.fields:
                raise Unsupported(f"this model's server doesn't know '{name}'", feature=name, param=name)
            body[accent.fields[name]] = value
    return body


def _logprobs(request: GenerateRequest, path: str, accent: Accent, names_by_id: bool) -> dict[str, Any]:
    body: dict[str, Any] = {}
    if request.top_logprobs is not None:
        count = request.top_logprobs
        body = {"logprobs": True, "top_logprobs": count} if path == CHAT else {"logprobs": count}
    if request.prompt_logprobs is not None:
        if not accent.has_prompt_logprobs:
            raise Unsupported("this model's server has none of the prompt", feature="logprobs", param="prompt_logprobs")
        body["prompt_logprobs"] = request.prompt_logprobs
    if body and names_by_id and accent.reports_token_ids:
        body["return_tokens_as_token_ids"] = True
    return body


def _options(request: GenerateRequest, accent: Accent) -> dict[str, Any]:
    body: dict[str, Any] = {}
    if accent.reports_token_ids:
        body["return_token_ids"] = True
    if accent.has_priority:
        if request.priority:
            body["priority"] = request.priority
        # A salt that nobody else has: nothing is found in the prefix cache, and nobody finds what is left there.
        salt = request.cache_salt if request.cache_prompt else request.id
        if salt:
            body["cache_salt"] = salt
    if accent.name == "llamacpp" and not request.cache_prompt:
        body["cache_prompt"] = False
    return body
