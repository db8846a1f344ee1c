"""How servers that speak OpenAI's API differ: what each takes beyond the API, and under which name.

Wire facts: vllm entrypoints/openai/*/protocol.py; sglang srt/entrypoints/openai/protocol.py; llama.cpp
tools/server/README.md; ollama openai/openai.go. Values only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

AccentName: TypeAlias = Literal["vllm", "sglang", "llamacpp", "ollama", "openai"]
TextRoutes: TypeAlias = Literal["vllm", "llamacpp", "none"]
Constraints: TypeAlias = Literal["vllm", "sglang", "llamacpp", "openai"]

OPENAI_SAMPLERS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
}


@dataclass(frozen=True, slots=True)
class Accent:
    """samplers: a name of Sampling's → the server's. fields: the same for GenerateRequest's own.

    reports_token_ids: knows `return_token_ids`. takes_token_ids: a prompt may be token ids. needs_length: a completion
    without max_tokens is cut off at 16.
    constraints: whose fields say what an answer must look like. text_routes: whose /tokenize and /detokenize it has.
    """

    name: AccentName
    samplers: Mapping[str, str] = field(default_factory=lambda: OPENAI_SAMPLERS)
    fields: Mapping[str, str] = field(default_factory=dict)
    reports_token_ids: bool = False
    takes_token_ids: bool = False
    has_bias: bool = True
    has_suffix: bool = False
    has_template_args: bool = False
    has_prompt_logprobs: bool = False
    has_priority: bool = False
    needs_length: bool = False
    constraints: Constraints = "openai"
    text_routes: TextRoutes = "none"


_TOKEN_FIELDS = {
    "min_tokens": "min_tokens",
    "stop_token_ids": "stop_token_ids",
    "ignore_eos": "ignore_eos",
}
_VLLM_SAMPLERS = {
    **OPENAI_SAMPLERS,
    "top_k": "top_k",
    "min_p": "min_p",
    "repetition_penalty": "repetition_penalty",
}

VLLM = Accent(
    "vllm",
    samplers=_VLLM_SAMPLERS,
    fields={**_TOKEN_FIELDS, "include_stop": "include_stop_str_in_output"},
    reports_token_ids=True,
    takes_token_ids=True,
    has_template_args=True,
    has_prompt_logprobs=True,
    has_priority=True,
    needs_length=True,
    constraints="vllm",
    text_routes="vllm",
)
SGLANG = Accent(
    "sglang",
    samplers=_VLLM_SAMPLERS,
    fields={**_TOKEN_FIELDS, "include_stop": "no_stop_trim"},
    takes_token_ids=True,
    needs_length=True,
    has_template_args=True,
    constraints="sglang",
)
LLAMACPP = Accent(
    "llamacpp",
    samplers={
        **OPENAI_SAMPLERS,
        "top_k": "top_k",
        "min_p": "min_p",
        "typical_p": "typical_p",
        "top_n_sigma": "top_n_sigma",
        "repetition_penalty": "repeat_penalty",
    },
    fields={"ignore_eos": "ignore_eos"},
    takes_token_ids=True,
    has_template_args=True,
    constraints="llamacpp",
    text_routes="llamacpp",
)
OLLAMA = Accent("ollama", has_bias=False, has_suffix=True)
OPENAI = Accent("openai", has_suffix=True, needs_length=True)

ACCENTS: Mapping[AccentName, Accent] = {accent.name: accent for accent in (VLLM, SGLANG, LLAMACPP, OLLAMA, OPENAI)}
_OWNERS = {"vllm": VLLM, "sglang": SGLANG, "llamacpp": LLAMACPP, "library": OLLAMA, "ollama": OLLAMA}


def accent_of(owned_by: str) -> Accent:
    """By what the server says under `owned_by` in /v1/models."""
    return _OWNERS.get(owned_by, OPENAI)
