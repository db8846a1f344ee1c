"""What Ollama tells about itself and its models: version, /api/tags, /api/ps, /api/show.

Wire facts: ollama api/types.go (ListModelResponse, ProcessModelResponse, ShowResponse, ModelDetails), server/routes.go
(GetModelInfo, ShowHandler, PsHandler), format/format.go (HumanNumber).
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator
from typing import Any, ClassVar

from pydantic import Field

from adapters.base import Call, Reply, Served
from adapters.framing import JSON_UTF8
from adapters.ollama.body import GoBody
from adapters.ollama.json import go_json, go_time, nanoseconds, quoted
from backends.base import BackendState, ModelInfo
from backends.errors import InvalidRequest, UnknownModel

VERSION = "0.13.5"
"""The last release before /v1/messages, which a client may expect of 0.14.0 and later. Codex asks for 0.13.4, the first
release with a /v1/responses that it can use, and Copilot for 0.6.4; both read dotted numbers only."""

_CAPABILITIES = ("completion", "tools", "insert", "vision", "embedding", "thinking")
_COPILOT = "GitHubCopilotChat/"
_LONGEST_NS = 2**63 - 1  # what Ollama adds to the present for a model that stays for ever
_TEMPLATE = "{{ .Prompt }}"
_FILLS_IN = "{#- between .Prompt and .Suffix the middle can be filled in -#}"
"""In front of a model's own template: Continue looks for `.Suffix` there to learn whether a model fills in. To the
template's own notation it is a comment."""


async def version(_call: Call) -> Reply:
    return json_reply({"version": VERSION})


async def tags(call: Call) -> Reply:
    """Each name that a client may use, aliases too: many look for theirs before they ask anything."""
    return json_reply({"models": [_listed(name, served) for name, served in all_names(call)]})


async def ps(call: Call) -> Reply:
    """The models in memory, and those on their way there: the scheduler counts a runner as loaded from when it starts
    (server/sched.go, load). The one that stays longest comes first."""
    in_memory = (BackendState.STARTING, BackendState.READY)
    loaded = [served for served in call.models.all() if served.backend.state in in_memory]
    loaded.sort(key=call.models.expires_at, reverse=True)
    return json_reply({"models": [_running(served, call.models.expires_at(served)) for served in loaded]})


class ShowBody(GoBody):
    """model, or as older clients say it, name."""

    go_struct: ClassVar[str] = "ShowRequest"

    model: str = ""
    name: str = ""
    verbose: bool = False
    system: str = ""
    template: str = ""
    options: dict[str, Any] = Field(default_factory=dict)


async def show(call: Call) -> Reply:
    body = ShowBody.parse(call)
    asked = body.model or body.name
    if not asked:
        raise InvalidRequest("model is required", param="model")
    served = call.models.find(asked)
    if served is None:
        raise UnknownModel(asked)
    is_copilot = call.headers.get("User-Agent", "").startswith(_COPILOT)
    return json_reply(_described(asked, served, basename=asked if is_copilot else served.name))


def json_reply(value: Any) -> Reply:
    return Reply(go_json(value), content_type=JSON_UTF8)


def all_names(call: Call) -> Iterator[tuple[str, Served]]:
    for served in call.models.all():
        for name in (served.name, *served.aliases):
            yield name, served


def modified_s(served: Served) -> float:
    """When the weights changed, else since when they are served; seconds since the epoch."""
    return served.info.modified_at or served.created


def digest(served: Served) -> str:
    """Where a backend doesn't know it, one of the name: Ollama's command line shows twelve characters, unasked."""
    return served.info.digest or hashlib.sha256(served.name.encode()).hexdigest()


def _listed(name: str, served: Served) -> dict[str, Any]:
    return {
        "name": name,
        "model": name,
        "modified_at": go_time(nanoseconds(modified_s(served))),
        "size": served.info.size_bytes,
        "digest": digest(served),
        "details": _details(name, served),
        "capabilities": _capabilities(served.info),
    }


def _running(served: Served, expires_at: float) -> dict[str, Any]:
    """size_vram: nothing, as far as is known of the backends."""
    expires_ns = time.time_ns() + _LONGEST_NS if math.isinf(expires_at) else nanoseconds(expires_at)
    return {
        "name": served.name,
        "model": served.name,
        "size": served.info.size_bytes,
        "digest": digest(served),
        "details": _details(served.name, served),
        "expires_at": go_time(expires_ns),
        "size_vram": 0,
        "context_length": served.info.window,
    }


def _described(name: str, served: Served, *, basename: str) -> dict[str, Any]:
    info = served.info
    template = info.chat_template or _TEMPLATE
    if "insert" in info.capabilities:
        template = _FILLS_IN + template
    parameters = _parameters(info)
    return {
        "modelfile": _modelfile(served, template, parameters),
        "parameters": "\n".join(f"{key:<30} {value}" for key, value in parameters),
        "template": template,
        "details": _details(name, served),
        "model_info": _model_info(info, basename),
        "capabilities": _capabilities(info),
        "modified_at": go_time(nanoseconds(modified_s(served))),
    }


def _details(name: str, served: Served) -> dict[str, Any]:
    """parent_model: what an alias stands for, or what a LoRA belongs to."""
    info = served.info
    stands_for = "" if name.removesuffix(":latest") == served.name else served.name
    return {
        "parent_model": stands_for or served.parent,
        "format": "gguf" if info.path.endswith(".gguf") else "safetensors",
        "family": info.family,
        "families": [info.family],
        "parameter_size": human_number(info.num_parameters),
        "quantization_level": info.quantization,
    }


def _capabilities(info: ModelInfo) -> list[str]:
    return [name for name in _CAPABILITIES if name in info.capabilities]


def _model_info(info: ModelInfo, basename: str) -> dict[str, Any]:
    """GGUF's keys, as far as they are known. context_length is what a prompt and its answer may have here, whatever the
    model was trained for."""
    values = {
        "general.architecture": info.family,
        "general.basename": basename,
        "general.parameter_count": info.num_parameters,
        f"{info.family}.context_length": info.window,
        f"{info.family}.embedding_length": info.hidden_size,
        f"{info.family}.vocab_size": info.vocab_size,
    }
    return {key: values[key] for key in sorted(values) if values[key]}


def _parameters(info: ModelInfo) -> list[tuple[str, str]]:
    """What holds unless a request says otherwise, sorted; Continue reads `num_ctx` and `stop`."""
    parameters = [("num_ctx", str(info.window))]
    return [*parameters, ("stop", quoted(info.eos_token))] if info.eos_token else parameters


def _modelfile(served: Served, template: str, parameters: list[tuple[str, str]]) -> str:
    lines = [
        '# Modelfile generated by "ollama show"',
        "# To build a new Modelfile based on this, replace FROM with:",
        f"# FROM {served.name}",
        "",
        f"FROM {served.info.path or served.name}",
        f'TEMPLATE """{template}"""',
        *(f"PARAMETER {key} {value}" for key, value in parameters),
    ]
    return "\n".join(lines) + "\n"


def human_number(number: int) -> str:
    """2_400_000 → `2.40M`."""
    for unit, name, decimals in ((10**9, "B", 1), (10**6, "M", 2), (10**3, "K", 0)):
        if number >= unit:
            return f"{number / unit:.{0 if number % unit == 0 else decimals}f}{name}"
    return str(number)
